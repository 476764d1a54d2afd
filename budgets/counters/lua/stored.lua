-- stored: the holds themselves, as they were stored.
--
-- KEYS    1.. the holds (at most a few thousand)
-- ARGV    1 run id of the server (put in by the runner)
-- result  per key the stored text, or nil
-- changes nothing
return redis.call('MGET', unpack(KEYS))
