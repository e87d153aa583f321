-- Stores a copy and notifies the fleet.
--
-- KEYS  data, lock, meta
-- ARGV  token that the lock must hold ('': store only if there is no copy), TTL of the copy in ms (0: for ever),
--       mark ('confirmed', 'quota' or ''), channel, worker, copy,
--       failure of the leader's request ('': keep the recorded one)
-- returns {0} token not held; {1, error of the notification or false} stored; {2} there is a copy already
local ttl = tonumber(ARGV[2])
if ARGV[1] ~= '' then
  if redis.call('GET', KEYS[2]) ~= ARGV[1] then
    return {0}
  end
elseif redis.call('EXISTS', KEYS[1]) == 1 then
  return {2}
end

if ttl > 0 then
  redis.call('SET', KEYS[1], ARGV[6], 'PX', ttl)
else
  redis.call('SET', KEYS[1], ARGV[6])
end

if ARGV[3] == 'confirmed' then
  local time = redis.call('TIME')
  redis.call('HSET', KEYS[3], 'confirmed', string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)))
  redis.call('HDEL', KEYS[3], 'quota', 'failure', 'failed')
elseif ARGV[3] == 'quota' then
  redis.call('HSET', KEYS[3], 'quota', '1')
end
if ARGV[7] ~= '' then
  local time = redis.call('TIME')
  local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
  redis.call('HSET', KEYS[3], 'failure', ARGV[7], 'failed', now)
end
if ttl > 0 then
  redis.call('PEXPIRE', KEYS[3], ttl)
else
  redis.call('PERSIST', KEYS[3])
end

-- The copy is stored, so a missing permission to publish must not be an error.
local reply = redis.pcall('PUBLISH', ARGV[4], ARGV[5])
return {1, type(reply) == 'table' and reply.err or false}
