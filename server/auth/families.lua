-- The newest refresh token of a family of tokens (KEYS[1]), or 'revoked'.
-- ARGV: what to do, for how many milliseconds, and the tokens. Returns 0: done, 1: revoked, 2: used before.
local what, ttl = ARGV[1], ARGV[2]
if what == 'begin' then
  redis.call('SET', KEYS[1], ARGV[3], 'PX', ttl)
  return 0
end
local newest = redis.call('GET', KEYS[1])
if what == 'look' then
  if newest == 'revoked' then return 1 end
  return 0
end
if not newest or newest == 'revoked' then return 1 end
if newest ~= ARGV[3] then
  redis.call('SET', KEYS[1], 'revoked', 'PX', ttl)
  return 2
end
redis.call('SET', KEYS[1], ARGV[4], 'PX', ttl)
return 0
