-- ended: which holds of one kind have passed their end.
--
-- KEYS    1 the ends (calls or reservations)
-- ARGV    1 run id of the server (put in by the runner)   2 now   3 how many at most
-- result  hold ids, the longest ended first
-- changes nothing
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[2], 'LIMIT', 0, ARGV[3])
