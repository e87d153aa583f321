-- Frees the lock if this worker holds it, under whatever number, and tells the fleet.
--
-- KEYS  lock
-- ARGV  worker, channel
-- gives 1 freed; 0 held by another, or by nobody
local prefix = 'flagcache:' .. ARGV[1] .. ':'
local held = redis.call('GET', KEYS[1])
if not held or string.sub(held, 1, #prefix) ~= prefix then
  return 0
end
redis.call('DEL', KEYS[1])
redis.pcall('PUBLISH', ARGV[2], ARGV[1])
return 1
