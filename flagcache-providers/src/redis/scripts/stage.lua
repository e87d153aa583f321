-- Writes a piece of a copy to the staging key, from which the publish script takes it.
--
-- KEYS  lock, staging
-- ARGV  token that the lock must hold, offset of the piece, piece, length of the copy
-- returns 0 token not held; 1 written; 2 the pieces before it are gone
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
if ARGV[2] == '0' then
  redis.call('SET', KEYS[2], '')
  -- Allocates the whole length at once.
  redis.call('SETRANGE', KEYS[2], ARGV[4] - 1, '}')
elseif redis.call('EXISTS', KEYS[2]) == 0 then
  return 2
end
redis.call('SETRANGE', KEYS[2], ARGV[2], ARGV[3])
-- What an abandoned publish leaves behind.
redis.call('PEXPIRE', KEYS[2], 60000)
return 1
