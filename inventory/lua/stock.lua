-- stock.lua reads the counters.
--
-- KEYS[1]  the SKU's stock hash
--
-- Returns {'stock', store, epoch, supply, version, taken, seq, unsettled}, as they
-- stand there, nil for what is missing.
--
-- It writes nothing.

local v = redis.call('HMGET', KEYS[1], 'store', 'epoch', 'supply', 'version', 'taken', 'seq', 'unsettled')
local reply = {'stock'}
for i = 1, 7 do
  reply[i + 1] = v[i] or false
end
return reply
