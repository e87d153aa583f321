-- Renews the lock, never acquires it.
--
-- KEYS  lock
-- ARGV  token that the lock must hold, TTL of the lock in ms
-- returns 1 renewed; 0 token not held
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
