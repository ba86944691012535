import { redisScript } from '../platform/redis/redis-script';

/*
 * A window in Redis is a list: c0 m1 c1 m2 c2 ... mn cn. By the moment mi (milliseconds) ci places had been taken since
 * the window was begun; so cn - c0 are taken now, and dropping what has left the window is cutting the list's head off.
 * Moments and counts both grow along the list. The clock is that of Redis, the same for all processes.
 */
const CLOCK = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`;

/** When the clock has stepped back, the newest place of a window counts as taken now, and the others as long before it as they were. */
const STEP_BACK = `
local function stepBack(key, window)
  local ahead = tonumber(redis.call('LINDEX', key, -2) or now) - now
  if ahead <= math.ceil(window / 1000) then return end
  local list = redis.call('LRANGE', key, 0, -1)
  redis.call('DEL', key)
  for i, value in ipairs(list) do redis.call('RPUSH', key, i % 2 == 0 and value - ahead or value) end
  redis.call('PEXPIRE', key, window)
end
`;

/**
 * Decides about many requests, one after the other: each takes its places of every claim, or none of any.
 * KEYS: the window of each claim. ARGV: for each request how many claims it has, and for each of these limit, window and
 * step in milliseconds, how many places it takes, and 1 when it only looks. Answers three numbers for each claim: wait, remaining, reset.
 */
export const TAKE = redisScript(`${CLOCK}${STEP_BACK}
-- How many of a window's moments (at 1) or counts (at 2) are at most the bound.
local function countUpTo(key, at, bound)
  local low, high = 0, (redis.call('LLEN', key) - 1) / 2
  while low < high do
    local middle = math.floor((low + high) / 2)
    if tonumber(redis.call('LINDEX', key, 2 * middle + at)) <= bound then low = middle + 1 else high = middle end
  end
  return low
end

local function look(claim)
  stepBack(claim.key, claim.window)
  local first = tonumber(redis.call('LINDEX', claim.key, 1) or now)
  if first <= now - claim.window then
    redis.call('LTRIM', claim.key, 2 * countUpTo(claim.key, 1, now - claim.window), -1)
  end
  local base = redis.call('LINDEX', claim.key, 0)
  claim.isNew = not base
  claim.base = tonumber(base or 0)
  claim.total = tonumber(redis.call('LINDEX', claim.key, -1) or 0)
  local excess = claim.total - claim.base - claim.limit + claim.places
  if excess <= 0 then return 0 end
  if claim.limit < claim.places then return claim.window end
  local blocking = countUpTo(claim.key, 2, claim.base + excess - 1)
  return math.max(1, tonumber(redis.call('LINDEX', claim.key, 2 * blocking + 1)) + claim.window - now)
end

local function take(claim)
  if claim.places == 0 then return end
  local moment = math.ceil(now / claim.step) * claim.step
  local last = redis.call('LINDEX', claim.key, -2)
  claim.total = claim.total + claim.places
  if last and tonumber(last) >= moment then
    redis.call('LSET', claim.key, -1, claim.total)
  elseif claim.isNew then
    redis.call('RPUSH', claim.key, 0, moment, claim.total)
  else
    redis.call('RPUSH', claim.key, moment, claim.total)
  end
  redis.call('PEXPIRE', claim.key, claim.window + claim.step)
end

local answer, key, arg = {}, 0, 0
local function nextArg()
  arg = arg + 1
  return tonumber(ARGV[arg])
end

while arg < #ARGV do
  local claims, isFree = {}, true
  for i = 1, nextArg() do
    key = key + 1
    local claim = { key = KEYS[key], limit = nextArg(), window = nextArg(), step = nextArg(), places = nextArg(), onlyLooks = nextArg() == 1 }
    claim.wait = look(claim)
    isFree = isFree and claim.wait == 0
    claims[i] = claim
  end
  for _, claim in ipairs(claims) do
    if isFree and not claim.onlyLooks then take(claim) end
    local first = redis.call('LINDEX', claim.key, 1)
    answer[#answer + 1] = claim.wait
    answer[#answer + 1] = math.max(0, claim.limit - (claim.total - claim.base))
    answer[#answer + 1] = first and tonumber(first) + claim.window - now or 0
  end
end
return answer`);

/**
 * Adds places that were taken where Redis could not see it. KEYS: windows. ARGV: for each its length in milliseconds,
 * how many moments follow, and these as pairs: how long ago, in milliseconds, and how many places.
 */
export const ADD = redisScript(`${CLOCK}${STEP_BACK}
local arg = 0
local function nextArg()
  arg = arg + 1
  return tonumber(ARGV[arg])
end

for _, key in ipairs(KEYS) do
  local window = nextArg()
  stepBack(key, window)
  local moments, counts = {}, {}
  local function put(moment, count)
    if not counts[moment] then moments[#moments + 1] = moment end
    counts[moment] = (counts[moment] or 0) + count
  end
  local old = redis.call('LRANGE', key, 0, -1)
  for i = 2, #old, 2 do put(tonumber(old[i]), old[i + 1] - old[i - 1]) end
  for _ = 1, nextArg() do
    local age, count = nextArg(), nextArg()
    if age < window then put(now - age, count) end
  end
  table.sort(moments)
  redis.call('DEL', key)
  local total = 0
  if #moments > 0 then redis.call('RPUSH', key, 0) end
  for _, moment in ipairs(moments) do
    total = total + counts[moment]
    redis.call('RPUSH', key, moment, total)
  end
  if #moments > 0 then redis.call('PEXPIRE', key, math.max(1, moments[#moments] + window - now)) end
end
return 1`);

/**
 * Says that a process is there, or is not. KEYS: the list of processes. ARGV: its id; for how long that holds, in
 * milliseconds; 1 when it is there; a moment. Answers Redis' time, how many processes said so since that moment, and the ids of all.
 */
export const BEAT = redisScript(`${CLOCK}
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
if ARGV[3] == '1' then redis.call('ZADD', KEYS[1], now, ARGV[1]) else redis.call('ZREM', KEYS[1], ARGV[1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return { now, redis.call('ZCOUNT', KEYS[1], ARGV[4], '+inf'), redis.call('ZRANGE', KEYS[1], 0, -1) }`);
