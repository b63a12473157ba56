-- Requests of one or more clients (KEYS: an address, perhaps a user): each let through for all of them, or for none.
-- ARGV: how many requests, per rule its interval and its capacity, then per client and rule how far it is ahead at least;
-- times in microseconds. Returns how many are let through, how long the next has to wait, then per client and rule how far
-- it is ahead now.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local rules = 2
local asked = tonumber(ARGV[1])
local through, stored = asked, {}
for k = 1, #KEYS do
  local v = redis.call('GET', KEYS[k])
  local at = {0, 0}
  if v then
    local a, b = string.match(v, '^(%d+) (%d+)$')
    at = {tonumber(a) or 0, tonumber(b) or 0}
  end
  stored[k] = {}
  for r = 1, rules do
    local interval, capacity = tonumber(ARGV[2 * r]), tonumber(ARGV[2 * r + 1])
    local ahead = tonumber(ARGV[1 + 2 * rules + (k - 1) * rules + r])
    -- Nobody gets further ahead than the capacity, unless the clock has been set back.
    local base = math.max(math.min(math.max(at[r], now + ahead), now + capacity), now)
    stored[k][r] = base
    if interval > 0 then through = math.min(through, math.floor((now + capacity - base) / interval)) end
  end
end
local out = {through, 0}
for k = 1, #KEYS do
  local at = {}
  for r = 1, rules do
    local interval, capacity = tonumber(ARGV[2 * r]), tonumber(ARGV[2 * r + 1])
    at[r] = stored[k][r] + through * interval
    if through < asked and interval > 0 then out[2] = math.max(out[2], at[r] + interval - now - capacity) end
  end
  local ttl = math.ceil((math.max(at[1], at[2]) - now) / 1000) + 1000
  redis.call('SET', KEYS[k], string.format('%.0f %.0f', at[1], at[2]), 'PX', ttl)
  out[#out + 1] = at[1] - now
  out[#out + 1] = at[2] - now
end
return out
