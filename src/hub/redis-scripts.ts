import { createHash } from 'node:crypto'
import type { RedisArgument, RedisConnection } from './redis-client.ts'

/** The `seq` of an `end` entry in Redis: the greatest that an id of a Redis Stream can have. */
export const endSeqInRedis = '18446744073709551615'

/**
 * What follows the name of a channel in that of the owner's channel: an owner listens to what others do with its stream, and not to
 * its own appends.
 */
export const ownerSuffix = ':owner'

/** A program that Redis runs. */
export interface Script {
  readonly text: string
  /** The name that Redis gives to the script. */
  readonly digest: string
}

function script(text: string): Script {
  return { text, digest: createHash('sha1').update(text).digest('hex') }
}

/** Runs a script by its digest, and sends its text when the server does not have it (a restart, or SCRIPT FLUSH). */
export async function runScript(
  { send }: RedisConnection,
  { digest, text }: Script,
  keys: readonly string[],
  args: readonly RedisArgument[],
): Promise<unknown> {
  const rest = [`${keys.length}`, ...keys, ...args]
  try {
    return await send(['EVALSHA', digest, ...rest])
  } catch (error) {
    if (!(error instanceof Error && error.message.includes('NOSCRIPT'))) throw error
    return send(['EVAL', text, ...rest])
  }
}

/**
 * Finds the time and the lease of a stream. The lease is a string
 * `<end in ms> <epoch> <position before it> <owner>`. Its key outlives the lease, so that an owner whose lease has run out, and
 * whom no other owner has followed, can get it again. Numbers are passed to Redis as the texts that they came as: Lua takes as long
 * to write a number as Redis takes for some commands.
 */
const common = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function find(lease)
  local held = redis.call('GET', lease)
  if held then return string.match(held, '^(%d+) (%d+) (%S*) (.*)$') end
end
local ends = {}
-- False when there is no log. 'ms' is the lease, 'total' the lease and the time for which the log is kept after it.
local function hold(stream, lease, owner, epoch, previous, ms, total)
  if redis.call('PEXPIRE', stream, total) == 0 then return false end
  ends[ms] = ends[ms] or string.format('%.0f ', now + tonumber(ms))
  -- Joined: a %s of string.format ends at a NUL.
  redis.call('SET', lease, ends[ms] .. epoch .. ' ' .. previous .. ' ' .. owner, 'PX', total)
  return true
end
local function latestOf(stream)
  return redis.call('XREVRANGE', stream, '+', '-', 'COUNT', '1')[1]
end
`

/**
 * Arguments: owner, lease, keepFor, both together, channel, whether to end the stream ('1'), the reason. An empty keepFor, when the
 * stream is ended, leaves the log's time as it is.
 */
export const openScript = script(`${common}
local stream, lease = KEYS[1], KEYS[2]
local endsAt, heldEpoch, heldPrevious, holder = find(lease)
local owner, ms, keepFor, total, channel, force, reason = unpack(ARGV)
local latest = latestOf(stream)
if latest and string.sub(latest[1], -21) == '-${endSeqInRedis}' then return { 'ended' } end
if force == '1' and not latest then return { 'ended' } end
if force ~= '1' and latest and holder then
  if holder == owner then
    hold(stream, lease, owner, heldEpoch, heldPrevious, ms, total)
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
local latestId = id .. (force == '1' and '-${endSeqInRedis}' or '-0')
if force == '1' then
  redis.call('XADD', stream, latestId, 'x', 'cancelled', 'a', '0', 'p', previous, 'r', reason)
  redis.call('DEL', lease)
  if keepFor ~= '' then redis.call('PEXPIRE', stream, keepFor) end
else
  redis.call('XADD', stream, latestId, 'o', previous, 'a', '0')
  hold(stream, lease, owner, id, previous, ms, total)
end
redis.call('SPUBLISH', channel, latestId)
redis.call('SPUBLISH', channel .. '${ownerSuffix}', latestId)
return { 'open', id, previous }
`)

/** How many arguments the script that renews has for each lease. */
const renewed = 6

/**
 * Extends any number of leases, or gives them up. Arguments for each: owner, lease, keepFor, both together, channel, whether to tell
 * the latest entry ('1'). An error of one of them is the answer for this one alone.
 */
export const renewScript = script(`${common}
local channels = {}
for n = 1, #KEYS / 2 do channels[n] = ARGV[${renewed} * n - 1] end
local listeners = redis.call('PUBSUB', 'SHARDNUMSUB', unpack(channels))
local function renew(n)
  local stream, lease = KEYS[2 * n - 1], KEYS[2 * n]
  local owner, ms, keepFor, total, channel, tells = unpack(ARGV, ${renewed} * (n - 1) + 1, ${renewed} * n)
  local _, epoch, previous, holder = find(lease)
  local isHeld = holder == owner
  if isHeld and ms == '0' then
    isHeld = redis.call('PEXPIRE', stream, keepFor) == 1
    if isHeld then
      redis.call('DEL', lease)
      redis.call('SPUBLISH', channel, '')
    end
  elseif isHeld then
    isHeld = hold(stream, lease, owner, epoch, previous, ms, total)
  end
  if not isHeld then return { '0', listeners[2 * n] } end
  return { '1', listeners[2 * n], tells == '1' and latestOf(stream)[1] or '' }
end
local answers = {}
for n = 1, #KEYS / 2 do
  local isDone, answer = pcall(renew, n)
  answers[n] = isDone and answer or { 'error', type(answer) == 'table' and answer.err or tostring(answer) }
end
return answers
`)

/**
 * Appends an entry, unless the log has lost the entry before it: a server that was promoted may lack the latest entries that its
 * predecessor has acknowledged. Arguments: the entry's id, the id of the entry before it, channel, the entry before which the log
 * may be trimmed ('' for none), the fields.
 */
export const appendScript = script(`
local stream, id, before, channel, trim = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local latest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', '1')[1]
if not latest then return 'fenced' end
if latest[1] ~= before then
  if latest[1] == id then return 'stored' end
  local epoch, seq = string.match(latest[1], '^(%d+)-(%d+)$')
  local ownEpoch, seqBefore = string.match(before, '^(%d+)-(%d+)$')
  if epoch ~= ownEpoch then return 'fenced' end
  if tonumber(seq) < tonumber(seqBefore) then return 'missing' end
end
local added
if trim == '' then added = redis.pcall('XADD', stream, id, unpack(ARGV, 5))
else added = redis.pcall('XADD', stream, 'MINID', '~', trim, id, unpack(ARGV, 5)) end
if added['err'] then
  if string.find(added['err'], 'equal or smaller', 1, true) then return 'fenced' end
  return redis.error_reply(added['err'])
end
redis.call('SPUBLISH', channel, id)
return 'stored'
`)
