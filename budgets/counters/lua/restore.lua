-- restore: puts one hold back without asking for room (after lost memory, or from the other store).
--
-- KEYS    1 the hold   2 the ends the hold joins (calls or reservations)
--         3.. the windows, one hash for all that start at the same moment
-- ARGV    1 run id of the server (put in by the runner)   2 hold id   3 amount   4 expires_at
--         5 the hold as it is stored   6 seconds the stored hold is kept at most
--         7.. per hash: how many windows, the seconds to keep it (0 for ever), then the name of each window
-- result  1 when it was put back, 0 when it was there already
-- changes the hold, its end, and reserved of every window; spend and version are never touched, so that a window
--         restored before the epoch opens is still loaded from the ledger after it. Repeating changes nothing.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
redis.call('SET', KEYS[1], ARGV[5], 'EX', ARGV[6])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[2])
local at = 7
for key = 3, #KEYS do
  local size = tonumber(ARGV[at])
  for window = 1, size do
    redis.call('HINCRBY', KEYS[key], 'r' .. ARGV[at + 1 + window], ARGV[3])
  end
  if ARGV[at + 1] ~= '0' then
    redis.call('EXPIRE', KEYS[key], ARGV[at + 1], 'NX')
    redis.call('EXPIRE', KEYS[key], ARGV[at + 1], 'GT')
  end
  at = at + size + 2
end
return 1
