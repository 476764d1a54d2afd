-- mark: says that this memory is complete for an epoch (or for one tenant in it).
--
-- KEYS    1 the marker
-- ARGV    1 run id of the server (put in by the runner)
-- result  1
-- changes the marker: it now holds the run id, so that a restarted server is recognised as one that may have
--         lost its last second even where it kept a file
redis.call('SET', KEYS[1], ARGV[1])
return 1
