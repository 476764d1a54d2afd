-- extend: moves the end of holds that are live.
--
-- KEYS    1 the ends of calls   2 the ends of reservations
-- ARGV    1 run id of the server (put in by the runner)   2 expires_at   3.. hold ids
-- result  how many were found
-- changes the end of those found; an unknown hold is left alone, never made
local found = 0
for position = 3, #ARGV do
  for ends = 1, 2 do
    if redis.call('ZSCORE', KEYS[ends], ARGV[position]) then
      redis.call('ZADD', KEYS[ends], 'XX', ARGV[2], ARGV[position])
      found = found + 1
    end
  end
end
return found
