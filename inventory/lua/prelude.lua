-- prelude.lua stands in front of every other script of this folder: how a
-- stock hash is read, and how numbers go in and out.
--
-- A stock hash has the counters
--
--   format     the layout of this hash, FORMAT; a build that meets another one
--              rebuilds the counters, and never reads them
--   store      the UUID of the order store whose supply this is
--   epoch      the life of these counters; deductions of another epoch are void
--   supply     how many units may be deducted in this epoch, all in all
--   version    of the supply and the terms; a newer one replaces an older one
--   taken      units deducted in this epoch and not restored
--   seq        the sequence number of the last deduction
--   unsettled  the part of taken that is neither settled nor restored
--
-- the terms of sale, times in milliseconds
--
--   customer_limit  units that one customer may have, 0 for no limit
--   opens_at        when the sale begins, 0 if it has
--   closes_at       when the sale is over, 0 for never; later than opens_at
--   paused          1 while nobody may buy, else 0
--
-- one field d:<attempt> for each unsettled deduction, with the value
--
--   seq:quantity:version:milliseconds:bytes:<customer><order>
--
-- where version is the supply's at the grant, milliseconds is Redis's clock
-- then, and bytes is the length of the customer: IDs may have colons in them. A
-- deduction names its customer only if it was made under a customer's limit, so
-- that it counts; else bytes is 0. And one field c:<customer> for each customer
-- with such deductions: the units of all of them, at least 1.
--
-- And one field a:<attempt> for each deduction of an accepted order, with the
-- order as whoever finds it carries it out. There is none without its deduction.
-- The field accepting is there since the first one of these counters was; the
-- field reopened is when a supply last came to counters with nothing available.
--
-- All share one key so that they can only be lost together. Nothing of an
-- attempt or a customer stays once nothing of theirs is unsettled.
--
-- Every script checks all that it was given, and all that it read, before its
-- first write: Redis keeps the writes of a script that fails half-way.

-- FORMAT is what stands in the field format. A build that reads or writes these
-- fields in another way has the next number here and in stock.go.
local FORMAT = '1'

-- A Lua number is a double: whole numbers are exact up to 2^53. We stay below
-- half of that, so that no sum of two counters can leave the exact range.
local BOUND = 4503599627370496

-- The most bytes of an ID, and the most units of one SKU in one order.
local ID_BYTES, MAX_QUANTITY = 128, 1000000

-- The most bytes of an accepted order.
local ACCEPTED_BYTES = 16384

-- KEPT is for how many milliseconds units are kept that came to counters with
-- nothing available: other processes may say "sold out" for as long (order.Reopening,
-- and one as clocks are cut off).
local KEPT = 51

-- CHUNK is how many values one command takes from a table: an even number, and
-- few enough for unpack anywhere (Redis allows 8,000, miniredis some 5,000).
local CHUNK = 500

-- whole reads a whole number from low to high, in plain digits. Anything else
-- (a sign, a fraction, nan, an exponent, hex, a leading zero) is nil. Compare
-- what it returns, never the text: as strings, "9" is greater than "10".
local function whole(text, low, high)
  if type(text) ~= 'string' or #text > 17 then return nil end
  if text == '0' then
    if low > 0 then return nil end
    return 0
  end
  if not string.find(text, '^%-?[1-9]%d*$') then return nil end
  local n = tonumber(text)
  if n < low or n > high then return nil end
  return n
end

-- digits writes a whole number without the exponent that tostring would use.
local function digits(n)
  return string.format('%.0f', n)
end

-- refuse is the reply to arguments that no caller of ours sends.
local function refuse(what)
  return redis.error_reply('LASTUNIT ' .. what)
end

-- clock is Redis's time in milliseconds.
local function clock()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- DIGITS are digits as text.
local DIGITS = {[0] = '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'}

-- named is whether three texts can be IDs here: such as are read back as they
-- were written.
local function named(a, b, c)
  return a ~= '' and b ~= '' and c ~= '' and #a <= ID_BYTES and #b <= ID_BYTES and #c <= ID_BYTES
end

-- values_of reads any number of fields: their values in the same order, false
-- for what is missing.
local function values_of(key, fields)
  local values = {}
  for from = 1, #fields, CHUNK do
    local some = redis.call('HMGET', key, unpack(fields, from, math.min(from + CHUNK - 1, #fields)))
    if #fields <= CHUNK then return some end
    for i = 1, #some do
      values[from + i - 1] = some[i]
    end
  end
  return values
end

-- value_of reads one field; false if it is missing.
local function value_of(key, field)
  return redis.call('HMGET', key, field)[1]
end

-- change sends a command with any number of fields, or of fields and values.
local function change(command, key, fields)
  for from = 1, #fields, CHUNK do
    redis.call(command, key, unpack(fields, from, math.min(from + CHUNK - 1, #fields)))
  end
end

-- read_terms reads terms of sale into a table, from a hash or from arguments.
-- It returns false and what is wrong unless they are in order.
local function read_terms(into, limit, opens_at, closes_at, paused)
  into.limit = whole(limit, 0, MAX_QUANTITY)
  into.opens_at = whole(opens_at, 0, BOUND)
  into.closes_at = whole(closes_at, 0, BOUND)
  into.paused = whole(paused, 0, 1)
  if not into.limit then return false, 'customer_limit is not a whole number from 0 to 1000000' end
  if not into.opens_at then return false, 'opens_at is not a whole number from 0 to 2^52' end
  if not into.closes_at then return false, 'closes_at is not a whole number from 0 to 2^52' end
  if not into.paused then return false, 'paused is neither 0 nor 1' end
  if into.closes_at > 0 and into.closes_at <= into.opens_at then return false, 'closes_at is not after opens_at' end
  return true
end

-- read_fields reads the counters and the terms as they stand there.
local function read_fields(key)
  return redis.call('HMGET', key, 'store', 'epoch', 'supply', 'version', 'taken', 'seq', 'unsettled',
    'customer_limit', 'opens_at', 'closes_at', 'paused', 'format')
end

-- read_stock returns the counters and the terms, or nil and why they can't be
-- used: missing, foreign (another store's), of another format, or garbage.
local function read_stock(key, store)
  local v = read_fields(key)
  if not v[1] then
    for i = 2, 12 do
      if v[i] then return nil, 'garbage' end
    end
    return nil, 'missing'
  end
  if v[1] ~= store then return nil, 'foreign' end
  if v[12] ~= FORMAT then return nil, 'of another format' end
  local stock = {
    epoch = whole(v[2], 1, BOUND),
    supply = whole(v[3], -BOUND, BOUND),
    version = whole(v[4], 1, BOUND),
    taken = whole(v[5], 0, BOUND),
    seq = whole(v[6], 0, BOUND),
    unsettled = whole(v[7], 0, BOUND),
  }
  if not (stock.epoch and stock.supply and stock.version and stock.taken and stock.seq and stock.unsettled)
    or stock.unsettled > stock.taken
    or not read_terms(stock, v[8], v[9], v[10], v[11]) then
    return nil, 'garbage'
  end
  return stock
end

-- split_deduction checks the value of an unsettled deduction. It returns seq as
-- text, and the numbers after it as a table; the customer, empty if it counts
-- for none; and where the order begins. It returns nil if the value is garbage.
--
-- Deductions that were made together differ in seq and the IDs only: what is
-- between is read once in a call.
local middles = {}
local function split_deduction(value)
  local seq, middle, at = string.match(value, '^([1-9]%d*):(%d+:%d+:%d+:%d+):()')
  if not seq or #seq > 15 and not whole(seq, 1, BOUND) then return nil end
  local numbers = middles[middle]
  if not numbers then
    local quantity, version, granted, bytes = string.match(middle, '^(%d+):(%d+):(%d+):(%d+)$')
    numbers = {
      quantity = whole(quantity, 1, BOUND), version = whole(version, 1, BOUND),
      at = whole(granted, 0, BOUND), bytes = whole(bytes, 0, ID_BYTES),
    }
    if not (numbers.quantity and numbers.version and numbers.at and numbers.bytes) then return nil end
    middles[middle] = numbers
  end
  local order = at + numbers.bytes
  if order > #value then return nil end
  if order == at then return seq, numbers, '', order end
  return seq, numbers, string.sub(value, at, order - 1), order
end

-- parse_deduction reads the value of an unsettled deduction; nil if it is garbage.
local function parse_deduction(value)
  local seq, numbers, customer, order = split_deduction(value)
  if not seq then return nil end
  return {
    seq = tonumber(seq), quantity = numbers.quantity, version = numbers.version, at = numbers.at,
    customer = customer, order = string.sub(value, order),
  }
end

-- read_in_flight puts the units that count for customers into a table; it
-- returns false if what stands there is garbage.
local function read_in_flight(key, customers, stock, into)
  local fields = {}
  for i = 1, #customers do
    fields[i] = 'c:' .. customers[i]
  end
  local values = values_of(key, fields)
  for i = 1, #customers do
    local units = 0
    if values[i] then units = whole(values[i], 1, stock.unsettled) end
    if not units then return false end
    into[customers[i]] = units
  end
  return true
end

-- accepted_of is the field of the accepted order beside a deduction's.
local function accepted_of(field)
  return 'a:' .. string.sub(field, 3)
end

-- named_deductions finds those of the pairs attempt, seq from ARGV[first] on
-- that are on record under that very seq, each once. It returns their fields,
-- their units, and what stays in flight of each customer that they count for;
-- nil if it meets garbage. If it is to, it passes over those of accepted orders.
local function named_deductions(key, first, stock, pass_accepted)
  local arguments = ARGV
  local asked, count = {}, (#arguments - first + 1) / 2
  for i = 1, count do
    asked[i] = 'd:' .. arguments[first + 2 * i - 2]
  end
  local values = values_of(key, asked)
  local fields, units, seen = {}, 0, {}
  local customers, counted, left = {}, {}, {}
  local last = 0
  for i = 1, count do
    local field = asked[i]
    if values[i] and not seen[field] then
      local seq, numbers, customer = split_deduction(values[i])
      if not seq then return nil end
      if seq == arguments[first + 2 * i - 1]
        and not (pass_accepted and value_of(key, accepted_of(field))) then
        seen[field] = true
        last = last + 1
        fields[last] = field
        units = units + numbers.quantity
        if customer ~= '' then
          if not counted[customer] then
            counted[customer] = 0
            customers[#customers + 1] = customer
          end
          counted[customer] = counted[customer] + numbers.quantity
        end
      end
    end
  end
  if units > stock.unsettled or not read_in_flight(key, customers, stock, left) then return nil end
  for customer, sum in pairs(counted) do
    left[customer] = left[customer] - sum
    if left[customer] < 0 then return nil end
  end
  return fields, units, left
end

-- drop removes the records that named_deductions found, with the accepted orders
-- beside them, and writes what stays in flight of their customers. Records go
-- first: Redis lets a script that has written go on without memory, and removing
-- takes none.
local function drop(key, fields, left)
  if #fields > 0 and value_of(key, 'accepting') then
    local beside = {}
    for i = 1, #fields do
      beside[i] = accepted_of(fields[i])
    end
    change('HDEL', key, beside)
  end
  local gone, writes = {}, {}
  for customer, units in pairs(left) do
    if units == 0 then
      gone[#gone + 1] = 'c:' .. customer
    else
      writes[#writes + 1] = 'c:' .. customer
      writes[#writes + 1] = digits(units)
    end
  end
  change('HDEL', key, fields)
  change('HDEL', key, gone)
  change('HSET', key, writes)
end

-- whole_seqs says whether ARGV from first on is pairs of an attempt and a seq.
local function whole_seqs(first)
  local arguments, find = ARGV, string.find
  if (#arguments - first) % 2 == 0 then return false end
  for i = first + 1, #arguments, 2 do
    local seq = arguments[i]
    if (#seq > 15 or not find(seq, '^[1-9]%d*$')) and not whole(seq, 1, BOUND) then return false end
  end
  return true
end
