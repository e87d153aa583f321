-- Stores a copy, links it to the one that it replaces, and notifies the fleet.
--
-- KEYS  data, lock, meta; for a staged copy also staging
-- ARGV  token that the lock must hold ('': store only if there is no copy), TTL of the copy in ms (0: for ever),
--       mark ('confirmed', 'quota' or ''), channel, worker, copy (the length of a staged one),
--       failure of the leader's request ('': keep the recorded one),
--       key of the patches, digest of the copy that this one replaces ('': no patch), digest of this copy and the patch,
--       digest of a staged copy
-- returns {0} token not held; {1, error of the notification or false, error of the patch or false} stored;
--       {2} there is a copy already; {3} the staged copy is not there
--
-- The key of the patches is no declared key: a user who may not access it can publish all the same.
local ttl = tonumber(ARGV[2])
if ARGV[1] ~= '' then
  if redis.call('GET', KEYS[2]) ~= ARGV[1] then
    return {0}
  end
elseif redis.call('EXISTS', KEYS[1]) == 1 then
  return {2}
end

if KEYS[4] then
  local length = redis.call('STRLEN', KEYS[4])
  local digest = redis.sha1hex(redis.call('GETRANGE', KEYS[4], 0, 399))
  if length ~= tonumber(ARGV[6]) or digest ~= ARGV[11] then
    return {3}
  end
  redis.call('RENAME', KEYS[4], KEYS[1])
  if ttl > 0 then
    redis.call('PEXPIRE', KEYS[1], ttl)
  else
    redis.call('PERSIST', KEYS[1])
  end
elseif ttl > 0 then
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

-- Links from one copy to the next: at most 8, and 1 MB. 'order' lists their origins, the newest first.
local function link(patches, from, patch)
  local reply = redis.pcall('HMGET', patches, 'order')
  if reply.err then
    return reply.err
  end
  local order, count, bytes = from .. ' ' .. #patch .. ' ', 1, #patch
  for origin, length in string.gmatch(reply[1] or '', '(%x+) (%d+) ') do
    if origin ~= from then
      count, bytes = count + 1, bytes + length
      if count <= 8 and bytes <= 1048576 then
        order = order .. origin .. ' ' .. length .. ' '
      else
        redis.pcall('HDEL', patches, origin)
      end
    end
  end
  reply = redis.pcall('HSET', patches, 'order', order, from, patch)
  if type(reply) == 'table' then
    return reply.err
  elseif ttl > 0 then
    redis.pcall('PEXPIRE', patches, ttl)
  else
    redis.pcall('PERSIST', patches)
  end
  return false
end

-- The copy is stored, so a missing permission for its patch or its notification must not be an error.
local unpatched = ARGV[9] ~= '' and link(ARGV[8], ARGV[9], ARGV[10])
local reply = redis.pcall('PUBLISH', ARGV[4], ARGV[5])
return {1, type(reply) == 'table' and reply.err or false, unpatched}
