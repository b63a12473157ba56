-- One request of one or more clients (KEYS: an address, perhaps a user): let through for all of them, or for none.
-- ARGV: per rule its interval and its capacity, then per client and rule how far it is ahead at least; all in microseconds.
-- Returns how long to wait (0: let through), then per client and rule how far it is ahead now.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local rules = 2
local wait, stored, after = 0, {}, {}
for k = 1, #KEYS do
  local v = redis.call('GET', KEYS[k])
  local at = {0, 0}
  if v then
    local a, b = string.match(v, '^(%d+) (%d+)$')
    at = {tonumber(a) or 0, tonumber(b) or 0}
  end
  stored[k], after[k] = {}, {}
  for r = 1, rules do
    local interval, capacity = tonumber(ARGV[2 * r - 1]), tonumber(ARGV[2 * r])
    local ahead = tonumber(ARGV[2 * rules + (k - 1) * rules + r])
    -- Nobody gets further ahead than the capacity, unless the clock has been set back.
    local base = math.max(math.min(math.max(at[r], now + ahead), now + capacity), now)
    stored[k][r], after[k][r] = base, base + interval
    if interval > 0 then wait = math.max(wait, base + interval - now - capacity) end
  end
end
local out = {wait}
for k = 1, #KEYS do
  local at = after[k]
  if wait > 0 then at = stored[k] end
  local ttl = math.ceil((math.max(at[1], at[2]) - now) / 1000) + 1000
  redis.call('SET', KEYS[k], string.format('%.0f %.0f', at[1], at[2]), 'PX', ttl)
  out[#out + 1] = at[1] - now
  out[#out + 1] = at[2] - now
end
return out
