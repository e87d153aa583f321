-- One look at the service's state, and a bid for the lead.
--
-- KEYS  data, lock, meta
-- ARGV  worker, number of this decision, TTL of the lock in ms (0: look, do not bid),
--       until when the bid may win, in ms of the server's clock (0: for ever), fingerprint of the worker's key ('': unknown)
-- gives {leads (2: it would, but the bid came too late), ms left of the lock, ms since the last confirmation,
--       quota used up, length, digest, own format, ms of the server's clock,
--       what the API answered a leader that could not fetch ('': nothing), ms since then}
--       -1 in place of a time means unknown; -2 that nobody holds the lock
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local life, ends = tonumber(ARGV[3]), tonumber(ARGV[4])
local leads = 0
local held = redis.call('GET', KEYS[2])

-- A leader of another SDK writes no meta: what an earlier leader left there says nothing about now.
local meta = redis.call('HMGET', KEYS[3], 'confirmed', 'quota', 'failure', 'failed')
local foreign = held and string.sub(held, 1, 10) ~= 'flagcache:'
local failure, failed = '', tonumber(meta[4] or '')
if meta[3] and failed and not foreign then
  failure = meta[3]
end
-- After the server's clock was set back, a time ahead of it counts as a time that long ago.
local age = failed and math.abs(now - failed) or 0

-- Whose key was just refused to another leader does not bid.
local window, barred = string.match(failure, '^unauthorized %d+ (%d+) (%S+)$')
if window and age < tonumber(window)
    and (barred == '*' or (ARGV[5] ~= '' and string.find(barred, ARGV[5], 1, true))) then
  life = 0
end

if life > 0 then
  local prefix = 'flagcache:' .. ARGV[1] .. ':'
  local number = held and string.sub(held, 1, #prefix) == prefix and tonumber(string.sub(held, #prefix + 1))
  -- A lock with a later number of this worker means that this very call was delayed and given up: it must not bid.
  if not held or (number and number <= tonumber(ARGV[2])) then
    -- A bid that lay in a server that hung: its worker waits for no answer any more, and may have ended.
    leads = ends > 0 and now > ends and 2 or 1
    if leads == 1 then
      redis.call('SET', KEYS[2], prefix .. ARGV[2], 'PX', life)
    end
  end
end

local since = -1
local confirmed = tonumber(meta[1] or '')
if confirmed and not foreign then
  since = math.max(0, now - confirmed)
end

local head = redis.call('GETRANGE', KEYS[1], 0, 399)
local own = string.sub(head, 1, 14) == '{"_flagcache":' and 1 or 0
return {
  leads, redis.call('PTTL', KEYS[2]), since, meta[2] and not foreign and 1 or 0,
  redis.call('STRLEN', KEYS[1]), redis.sha1hex(head), own, now, failure, age
}
