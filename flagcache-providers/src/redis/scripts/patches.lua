-- Reads the patches from one copy to the present one.
--
-- KEYS  data
-- ARGV  key of the patches, digest of the copy to begin with
-- returns {length and digest of the present copy, patches in their order}; {} there is no such chain, or it is not worthwhile;
--       {error} the patches cannot be read
--
-- The key of the patches is no declared key, as in the publish script.
local length = redis.call('STRLEN', KEYS[1])
local present = redis.sha1hex(redis.call('GETRANGE', KEYS[1], 0, 399))
local reply, at, bytes = {length, present}, ARGV[2], 0
while at ~= present do
  local found = redis.pcall('HMGET', ARGV[1], at)
  if found.err then
    return {found.err}
  end
  local link = found[1]
  bytes = bytes + #(link or '')
  if not link or #reply == 10 or bytes * 2 > length then
    return {}
  end
  at = string.sub(link, 1, 40)
  table.insert(reply, string.sub(link, 41))
end
return reply
