-- reserve: holds an amount in every window a call counts in, or in none.
--
-- KEYS    1 the tenant's marker   2 the hold   3 the ends the hold joins (calls or reservations)
--         4 the ends of reservations   5.. the windows, one hash for all that start at the same moment
-- ARGV    1 run id of the server (put in by the runner)   2 now   3 hold id   4 amount   5 expires_at
--         6 the hold as it is stored, "<amount>|<json>"   7 seconds the stored hold is kept at most
--         8.. per hash: how many windows, then for each its name and its cap in nano_usd ("-": not enforced)
-- result  {"held", spend, reserved, ...}   held now, or held already; counts without this hold
--         {"full", spend, reserved, ...}   an enforced window has no room
--         {"cold", index, ...}             these windows (from 1) are not in memory
--         {"lapsed", hold id, ...}         these reservations have ended and are to be taken out first
--         {"lost"}                         this memory does not know the tenant, or has lost something
-- changes on "held": the hold, its end and every window's reserved. On all else: nothing.
-- Numbers are doubles, exact below 2**53: a larger sum is left to the server (HINCRBY), and none is ever printed
-- but by %.0f. The windows of a hash are read and written together: ten cost hardly more than one.
local EXACT = 9007199254740992
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'lost'}
end
local lapsed = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', ARGV[2], 'LIMIT', 0, 50)
if #lapsed > 0 then
  table.insert(lapsed, 1, 'lapsed')
  return lapsed
end

local amount = tonumber(ARGV[4])
local answer = {'held'}
local writes = {}
local cold = nil
local has_room = true
local is_exact = true
local at = 8
local line = 0
for key = 5, #KEYS do
  local size = tonumber(ARGV[at])
  local fields = {}
  for window = 1, size do
    local name = ARGV[at + 2 * window - 1]
    fields[2 * window - 1] = 's' .. name
    fields[2 * window] = 'r' .. name
  end
  local known = redis.call('HMGET', KEYS[key], unpack(fields))
  local write = {}
  for window = 1, size do
    line = line + 1
    local spend = known[2 * window - 1]
    if not spend then
      cold = cold or {'cold'}
      cold[#cold + 1] = line
    else
      local reserved = known[2 * window] or '0'
      answer[2 * line] = spend
      answer[2 * line + 1] = reserved
      reserved = tonumber(reserved)
      local cap = ARGV[at + 2 * window]
      if cap ~= '-' then
        local used = tonumber(spend) + reserved
        cap = tonumber(cap)
        if used >= cap or used + amount > cap then
          has_room = false
        end
      end
      write[2 * window - 1] = fields[2 * window]
      write[2 * window] = string.format('%.0f', reserved + amount)
      is_exact = is_exact and reserved + amount < EXACT
    end
  end
  writes[key] = write
  at = at + 2 * size + 1
end
if cold then
  return cold
end
if redis.call('EXISTS', KEYS[2]) == 1 then
  for position = 3, #answer, 2 do
    answer[position] = string.format('%.0f', tonumber(answer[position]) - amount)
  end
  return answer
end
if not has_room then
  answer[1] = 'full'
  return answer
end

for key = 5, #KEYS do
  local write = writes[key]
  if is_exact then
    redis.call('HSET', KEYS[key], unpack(write))
  else
    for window = 1, #write, 2 do
      redis.call('HINCRBY', KEYS[key], write[window], ARGV[4])
    end
  end
end
redis.call('SET', KEYS[2], ARGV[6], 'EX', ARGV[7])
redis.call('ZADD', KEYS[3], ARGV[5], ARGV[3])
return answer
