-- unsettled.lua lists deductions that are older than a bound, a page a call.
--
-- KEYS[1]  the SKU's stock hash
-- ARGV[1]  store
-- ARGV[2]  the bound, in milliseconds
-- ARGV[3]  cursor, '0' to begin
-- ARGV[4]  about how many fields to look at
--
-- Returns {'page', cursor, epoch, field, value, accepted, ...}, cursor '0' at the
-- end, or {'unusable', why}: missing, foreign, of another format or garbage. accepted is the accepted
-- order that is kept beside the deduction, or ''. It is garbage too if all deductions
-- are on this page, and are not the units that the counters have as unsettled: a script
-- was ended half-way, as by a right that its user lost, or somebody removed fields.
--
-- It writes nothing. As with any HSCAN, what is there throughout is listed at
-- least once. A deduction from the future counts as old: Redis's clock was set
-- back, and to be asked about once too often does no harm.

local store = ARGV[1]
local bound = whole(ARGV[2], 0, BOUND)
local count = whole(ARGV[4], 1, 100000)
if not bound then return refuse('bound is not a whole number from 0 to 2^52') end
if not count then return refuse('count is not a whole number from 1 to 100000') end

local stock, why = read_stock(KEYS[1], store)
if not stock then return {'unusable', why} end

local now = clock()
local page = redis.call('HSCAN', KEYS[1], ARGV[3], 'MATCH', 'd:*', 'COUNT', ARGV[4])
local fields = page[2]
local reply = {'page', page[1], stock.epoch}
local accepting = value_of(KEYS[1], 'accepting')
local units, seen = 0, {}
for i = 1, #fields, 2 do
  local quantity, at = string.match(fields[i + 1], '^%d+:(%d+):%d+:(%d+):')
  quantity, at = tonumber(quantity or ''), tonumber(at or '')
  if not at then return {'unusable', 'garbage'} end
  if not seen[fields[i]] then
    seen[fields[i]] = true
    units = units + quantity
  end
  if now - at >= bound or at > now + 1000 then
    reply[#reply + 1] = fields[i]
    reply[#reply + 1] = fields[i + 1]
    reply[#reply + 1] = accepting and value_of(KEYS[1], accepted_of(fields[i])) or ''
  end
end
if ARGV[3] == '0' and page[1] == '0' and units ~= stock.unsettled then return {'unusable', 'garbage'} end
return reply
