-- Reads the state of the service, and tries to acquire the lock.
--
-- KEYS  data, lock, meta
-- ARGV  worker, number of this decision, TTL of the lock in ms (0: read only),
--       when the attempt expires, in ms of the server's clock (0: for ever), fingerprint of the worker's key ('': unknown)
-- returns {leads (2: would lead, but the attempt has expired), ms left of the lock, ms since the last confirmation,
--       quota used up, length, digest, own format, ms of the server's clock,
--       failure of a leader's request ('': none), ms since then, whether a leader took a request for a refresh}
--       -1 in place of a time means unknown; -2 that the lock is free
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ttl, ends = tonumber(ARGV[3]), tonumber(ARGV[4])
local leads = 0
local held = redis.call('GET', KEYS[2])

-- A leader of another SDK writes no meta: what an earlier leader left there is outdated.
local meta = redis.call('HMGET', KEYS[3], 'confirmed', 'quota', 'failure', 'failed')
local foreign = held and string.sub(held, 1, 10) ~= 'flagcache:'
local failure, failed = '', tonumber(meta[4] or '')
if meta[3] and failed and not foreign then
  failure = meta[3]
end
-- After the server's clock was set back, a time in the future counts as that long ago.
local age = failed and math.abs(now - failed) or 0

-- A worker whose key was just refused to another leader makes no attempt.
local window, barred = string.match(failure, '^unauthorized %d+ (%d+) (%S+)$')
if window and age < tonumber(window)
    and (barred == '*' or (ARGV[5] ~= '' and string.find(barred, ARGV[5], 1, true))) then
  ttl = 0
end

if ttl > 0 then
  local prefix = 'flagcache:' .. ARGV[1] .. ':'
  local number = held and string.sub(held, 1, #prefix) == prefix and tonumber(string.sub(held, #prefix + 1))
  -- A lock with a later number of this worker means that this very call was delayed and abandoned: no attempt.
  if not held or (number and number <= tonumber(ARGV[2])) then
    -- An attempt that was delayed in a hanging server: its worker does not wait any more, and may have ended.
    leads = ends > 0 and now > ends and 2 or 1
    if leads == 1 then
      redis.call('SET', KEYS[2], prefix .. ARGV[2], 'PX', ttl)
    end
  end
end

local since = -1
local confirmed = tonumber(meta[1] or '')
if confirmed and not foreign then
  since = math.max(0, now - confirmed)
end

-- The leader carries it out now.
local refresh = leads == 1 and redis.call('HDEL', KEYS[3], 'refresh') or 0

local head = redis.call('GETRANGE', KEYS[1], 0, 399)
local own = string.sub(head, 1, 14) == '{"_flagcache":' and 1 or 0
return {
  leads, redis.call('PTTL', KEYS[2]), since, meta[2] and not foreign and 1 or 0,
  redis.call('STRLEN', KEYS[1]), redis.sha1hex(head), own, now, failure, age,
  refresh
}
