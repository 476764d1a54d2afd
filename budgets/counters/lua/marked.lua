-- marked: is this memory the one that was marked?
--
-- KEYS    1 the marker
-- ARGV    1 run id of the server (put in by the runner)
-- result  1 when the marker holds this server's run id, else 0
-- changes nothing
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return 1
end
return 0
