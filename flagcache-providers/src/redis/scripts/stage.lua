-- Appends a piece of a copy to the staging key, from which the publish script takes it.
--
-- KEYS  lock, staging
-- ARGV  token that the lock must hold, offset of the piece, piece
-- returns 0 token not held; 1 written; 2 the pieces before it are not there
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
local offset = tonumber(ARGV[2])
if offset == 0 then
  redis.call('SET', KEYS[2], ARGV[3])
else
  local length = redis.call('STRLEN', KEYS[2])
  -- A call that is repeated after a lost connection finds its piece there already.
  if length ~= offset and length ~= offset + #ARGV[3] then
    return 2
  end
  redis.call('SETRANGE', KEYS[2], offset, ARGV[3])
end
-- Deletes what an abandoned publish leaves behind.
redis.call('PEXPIRE', KEYS[2], 60000)
return 1
