-- A leader's load without an update: records the mark, and keeps the copy alive if it is still the expected one.
--
-- KEYS  data, lock, meta
-- ARGV  token that the lock must hold, TTL of the copy in ms (0: for ever), mark ('confirmed', 'quota' or ''),
--       length and digest of the expected copy (length -1: any), failure of the leader's request ('': keep the recorded one)
-- returns 0 token not held; 1 kept; 2 the copy is gone or a different one, nothing was done
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return 0
end
local length = tonumber(ARGV[4])
if length >= 0 and (redis.call('STRLEN', KEYS[1]) ~= length
    or redis.sha1hex(redis.call('GETRANGE', KEYS[1], 0, 399)) ~= ARGV[5]) then
  return 2
end

if ARGV[3] == 'confirmed' then
  local time = redis.call('TIME')
  redis.call('HSET', KEYS[3], 'confirmed', string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)))
  redis.call('HDEL', KEYS[3], 'quota', 'failure', 'failed')
elseif ARGV[3] == 'quota' then
  redis.call('HSET', KEYS[3], 'quota', '1')
end
if ARGV[6] ~= '' then
  local time = redis.call('TIME')
  local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
  redis.call('HSET', KEYS[3], 'failure', ARGV[6], 'failed', now)
end

-- Extending a TTL is a write that is replicated and logged: once per half TTL suffices.
local ttl = tonumber(ARGV[2])
for _, key in ipairs({KEYS[1], KEYS[3]}) do
  local left = redis.call('PTTL', key)
  if ttl > 0 and left ~= -2 and left * 2 < ttl then
    redis.call('PEXPIRE', key, ttl)
  elseif ttl == 0 and left >= 0 then
    redis.call('PERSIST', key)
  end
end
return 1
