-- Records a request for a refresh, which the leader's next decision takes, and notifies the leader. A request that waits
-- already is enough; the leader is notified again after a second, because it may have missed the notification.
--
-- KEYS  meta
-- ARGV  channel, message
-- returns 1 notified; 0 a request waits already
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local waits = redis.call('HMGET', KEYS[1], 'refresh')[1]
local since = waits and tonumber(waits)
if since and now >= since and now - since < 1000 then
  return 0
end
local is_new = redis.call('EXISTS', KEYS[1]) == 0
redis.call('HSET', KEYS[1], 'refresh', string.format('%.0f', now))
if is_new then
  -- Without a copy there may never be a leader.
  redis.call('PEXPIRE', KEYS[1], 60000)
end
-- A missing permission to publish must not be an error: the leader sees the request at its tick.
redis.pcall('PUBLISH', ARGV[1], ARGV[2])
return 1
