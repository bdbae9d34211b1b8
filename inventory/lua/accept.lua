-- accept.lua keeps accepted orders beside their deductions.
--
-- KEYS[1]  the SKU's stock hash
-- ARGV[1]  store
-- ARGV[2]  epoch of the deductions
-- ARGV[3..] attempt, seq, accepted order of each deduction
--
-- Returns {'unusable', why}: why is missing, foreign, of another format or garbage. Or {'decided', ...}
-- with one of these for each deduction:
--   'kept'     it is on record, with the order beside it, be it since before
--   'gone'     it is not on record, or the hash is of another epoch
--   'first'    it counts for a customer's limit: the order store must decide first,
--              and nothing was kept
--   'other'    another order is beside it
--
-- Safe to repeat and to be late: it only writes beside a record whose seq is the
-- named one. Unlike deduct.lua it never takes units, so that a copy that arrives
-- after its caller was told of a refusal makes no order. It writes also what is
-- there already: a WAIT behind it is for the writes of its own connection.

local store = ARGV[1]
local epoch = whole(ARGV[2], 1, BOUND)
if not epoch then return refuse('epoch is not a whole number from 1 to 2^52') end
if #ARGV < 5 or (#ARGV - 2) % 3 ~= 0 then return refuse('deductions are not of three arguments each') end
for i = 3, #ARGV, 3 do
  if not whole(ARGV[i + 1], 1, BOUND) then return refuse('not every attempt has a whole seq from 1 to 2^52') end
  if #ARGV[i + 2] < 1 or #ARGV[i + 2] > ACCEPTED_BYTES then return refuse('an accepted order has not 1 to 16384 bytes') end
end

local stock, why = read_stock(KEYS[1], store)
if not stock then return {'unusable', why} end

local reply, writes = {'decided'}, {}
for i = 3, #ARGV, 3 do
  local answer = 'gone'
  if stock.epoch == epoch then
    local on = redis.call('HMGET', KEYS[1], 'd:' .. ARGV[i], 'a:' .. ARGV[i])
    local deduction = on[1] and parse_deduction(on[1])
    if on[1] and not deduction then return {'unusable', 'garbage'} end
    if deduction and deduction.seq == tonumber(ARGV[i + 1]) then
      if deduction.customer ~= '' then
        answer = 'first'
      elseif on[2] and on[2] ~= ARGV[i + 2] then
        answer = 'other'
      else
        answer = 'kept'
        writes[#writes + 1] = 'a:' .. ARGV[i]
        writes[#writes + 1] = ARGV[i + 2]
      end
    end
  end
  reply[#reply + 1] = answer
end
if #writes > 0 then redis.call('HSET', KEYS[1], 'accepting', '1') end
change('HSET', KEYS[1], writes)
return reply
