/** The `seq` of an `end` entry in Redis: the greatest that an id of a Redis Stream can have. */
export const endSeqInRedis = '18446744073709551615'

/**
 * Finds the latest entry of a stream, and the time. The lease is a string
 * `<end in ms> <epoch> <position before it> <owner>`. Its key outlives the lease, so that an owner whose lease has run out, and
 * whom no other owner has followed, can get it again.
 */
const common = `
local stream, lease = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local latest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
local held = redis.call('GET', lease)
local holder, endsAt, heldEpoch, heldPrevious
if held then endsAt, heldEpoch, heldPrevious, holder = string.match(held, '^(%d+) (%d+) (%S*) (.*)$') end
local function hold(owner, epoch, previous, ms, keepFor)
  local value = string.format('%.0f %s %s %s', now + ms, epoch, previous, owner)
  redis.call('SET', lease, value, 'PX', ms + keepFor)
  redis.call('PEXPIRE', stream, ms + keepFor)
end
`

/** Arguments: owner, lease, keepFor, channel, whether to end the stream ('1'), the reason. */
export const openScript = `${common}
local owner, ms, keepFor, channel, force, reason = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]
if latest and string.sub(latest[1], -21) == '-${endSeqInRedis}' then return { 'ended' } end
if force == '1' and not latest then return { 'ended' } end
if force ~= '1' and latest and holder then
  if holder == owner then
    hold(owner, heldEpoch, heldPrevious, ms, keepFor)
    return { 'open', heldEpoch, heldPrevious }
  end
  if tonumber(endsAt) > now then return { 'held', string.format('%.0f', endsAt - now) } end
end
local epoch = now
local previous = ''
if latest then
  previous = latest[1]
  epoch = math.max(epoch, tonumber(string.match(previous, '^%d+')) + 1)
end
local id = string.format('%.0f', epoch)
if force == '1' then
  redis.call('XADD', stream, id .. '-${endSeqInRedis}', 'x', 'cancelled', 'a', '0', 'p', previous, 'r', reason)
  redis.call('DEL', lease)
  redis.call('PEXPIRE', stream, keepFor)
else
  redis.call('XADD', stream, id .. '-0', 'o', previous, 'a', '0')
  hold(owner, id, previous, ms, keepFor)
end
redis.call('SPUBLISH', channel, '')
return { 'open', id, previous }
`

/** Arguments: owner, lease, keepFor, channel. */
export const renewScript = `${common}
local owner, ms, keepFor, channel = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local listeners = redis.call('PUBSUB', 'SHARDNUMSUB', channel)[2]
if holder ~= owner or not latest then return { '0', listeners } end
if ms > 0 then
  hold(owner, heldEpoch, heldPrevious, ms, keepFor)
else
  redis.call('DEL', lease)
  redis.call('PEXPIRE', stream, keepFor)
  redis.call('SPUBLISH', channel, '')
end
return { '1', listeners }
`

/**
 * Appends an entry, unless the log has lost the entry before it: a server that was promoted may lack the latest entries that its
 * predecessor has acknowledged. Arguments: the entry's id, the `seq` of the entry before it, channel, the entry before which the log
 * may be trimmed ('' for none), the fields.
 */
export const appendScript = `
local stream, id, before, channel, trim = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local latest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
if not latest then return 'fenced' end
if latest[1] == id then return 'stored' end
local epoch, seq = string.match(latest[1], '^(%d+)-(%d+)$')
if epoch ~= string.match(id, '^%d+') then return 'fenced' end
if tonumber(seq) < tonumber(before) then return 'missing' end
local added
if trim == '' then added = redis.pcall('XADD', stream, id, unpack(ARGV, 5))
else added = redis.pcall('XADD', stream, 'MINID', '~', trim, id, unpack(ARGV, 5)) end
if added['err'] then
  if string.find(added['err'], 'equal or smaller', 1, true) then return 'fenced' end
  return redis.error_reply(added['err'])
end
redis.call('SPUBLISH', channel, '')
return 'stored'
`
