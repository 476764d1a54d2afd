-- look: reads windows, holds nothing.
--
-- KEYS    1 the tenant's marker   2 the ends of reservations
--         3.. the windows, one hash for all that start at the same moment
-- ARGV    1 run id of the server (put in by the runner)   2 now
--         3.. per hash: how many windows, then the name of each
-- result  {"seen", spend, reserved, ...}, or {"cold", index, ...}, {"lapsed", hold id, ...}, {"lost"} as in reserve
-- changes nothing, ever
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'lost'}
end
local lapsed = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[2], 'LIMIT', 0, 50)
if #lapsed > 0 then
  table.insert(lapsed, 1, 'lapsed')
  return lapsed
end
local answer = {'seen'}
local cold = nil
local at = 3
local line = 0
for key = 3, #KEYS do
  local size = tonumber(ARGV[at])
  local fields = {}
  for window = 1, size do
    fields[2 * window - 1] = 's' .. ARGV[at + window]
    fields[2 * window] = 'r' .. ARGV[at + window]
  end
  local known = redis.call('HMGET', KEYS[key], unpack(fields))
  for window = 1, size do
    line = line + 1
    if known[2 * window - 1] then
      answer[2 * line] = known[2 * window - 1]
      answer[2 * line + 1] = known[2 * window] or '0'
    else
      cold = cold or {'cold'}
      cold[#cold + 1] = line
    end
  end
  at = at + size + 1
end
return cold or answer
