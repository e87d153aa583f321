-- Releases the lock if this worker holds it, with any number, and notifies the fleet.
--
-- KEYS  lock
-- ARGV  worker, channel
-- returns 1 released; 0 not held by this worker
local prefix = 'flagcache:' .. ARGV[1] .. ':'
local held = redis.call('GET', KEYS[1])
if not held or string.sub(held, 1, #prefix) ~= prefix then
  return 0
end
redis.call('DEL', KEYS[1])
redis.pcall('PUBLISH', ARGV[2], ARGV[1])
return 1
