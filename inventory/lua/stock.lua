-- stock.lua reads the counters.
--
-- KEYS[1]  the SKU's stock hash
--
-- Returns {'stock', store, epoch, supply, version, taken, seq, unsettled,
-- customer_limit, opens_at, closes_at, paused, format}, as they stand there, nil
-- for what is missing.
--
-- It writes nothing.

local v = read_fields(KEYS[1])
local reply = {'stock'}
for i = 1, 12 do
  reply[i + 1] = v[i] or false
end
return reply
