-- settle: takes totals where they are newer, and ends one hold, in one step.
--
-- KEYS    1 the tenant's marker   2 the hold   3 the ends the hold is in (calls or reservations)
--         4.. the windows, one hash for all that start at the same moment
-- ARGV    1 run id of the server (put in by the runner)   2 hold id, or "" when there are only totals
--         3 end the hold only if its end is not after this moment, or "" to end it in any case
--         4.. per hash: how many windows, the seconds to keep it (0 for ever), then for each window its name,
--         1 or 0 (has the hold a line here?), its spend ("" for no total) and its version
-- result  1 when the hold was there and has ended, else 0
-- changes the hold, its end, reserved of its windows (only if the hold was there); spend and version of windows with
--         a newer total. A window that is not in memory takes a total only where the tenant's marker stands: before
--         that everything is loaded from the ledger anyway. Repeating it changes nothing more.
-- Numbers are doubles, exact below 2**53: a larger sum is left to the server (HINCRBY).
local EXACT = 9007199254740992
local amount = nil
if ARGV[2] ~= '' then
  local score = redis.call('ZSCORE', KEYS[3], ARGV[2])
  if ARGV[3] == '' or (score and tonumber(score) <= tonumber(ARGV[3])) then
    local held = redis.call('GETDEL', KEYS[2])
    redis.call('ZREM', KEYS[3], ARGV[2])
    if held then
      amount = string.match(held, '^%d+')
    end
  end
end
local is_open = redis.call('GET', KEYS[1]) == ARGV[1]
local at = 4
for key = 4, #KEYS do
  local size = tonumber(ARGV[at])
  local fields = {}
  for window = 1, size do
    local name = ARGV[at + 4 * window - 2]
    fields[2 * window - 1] = 'v' .. name
    fields[2 * window] = 'r' .. name
  end
  local known = redis.call('HMGET', KEYS[key], unpack(fields))
  local write = {}
  local is_new = false
  for window = 1, size do
    local from = at + 4 * window - 2
    local version, reserved = known[2 * window - 1], known[2 * window]
    if amount and ARGV[from + 1] == '1' and reserved then
      if tonumber(reserved) < EXACT then
        write[#write + 1] = fields[2 * window]
        write[#write + 1] = string.format('%.0f', tonumber(reserved) - tonumber(amount))
      else
        redis.call('HINCRBY', KEYS[key], fields[2 * window], '-' .. amount)
      end
    end
    if ARGV[from + 2] ~= '' then
      if (version and tonumber(ARGV[from + 3]) > tonumber(version)) or (not version and is_open) then
        write[#write + 1] = 's' .. ARGV[from]
        write[#write + 1] = ARGV[from + 2]
        write[#write + 1] = 'v' .. ARGV[from]
        write[#write + 1] = ARGV[from + 3]
        is_new = is_new or not version
      end
    end
  end
  if #write > 0 then
    redis.call('HSET', KEYS[key], unpack(write))
  end
  if is_new and ARGV[at + 1] ~= '0' then
    redis.call('EXPIRE', KEYS[key], ARGV[at + 1], 'NX')
    redis.call('EXPIRE', KEYS[key], ARGV[at + 1], 'GT')
  end
  at = at + 4 * size + 2
end
return amount and 1 or 0
