-- +goose Up
-- 006_feed: the feed by partition.

-- The movements of a partition's SKUs have positions: 1, 2, 3 and so on, without a gap.
-- They are given under the lock of the partition's row, which lasts until the end of the
-- transaction, so whoever reads the feed of a partition sees the first ones without a
-- gap. A reader's cursor is then a position in each partition, however many SKUs there
-- are, and without news the feed costs a look at these rows.
create table lastunit.feed (
    partition smallint primary key,
    position  bigint not null default 0 -- of the last movement
) with (fillfactor = 10); -- a page has few rows, and room to update them in place
insert into lastunit.feed (partition) select generate_series(0, 63);

-- Which rows of movement_batches are at which positions. One row holds all that a
-- statement moved in a partition, in parallel arrays: an element for each SKU.
create table lastunit.feed_entries (
    partition     smallint not null,
    last_position bigint   not null,
    skus          text[]   collate "C" not null,
    last_numbers  bigint[] not null, -- with the SKU the key of the row
    behind        bigint[] not null, -- how many positions the row's last movement is before last_position
    primary key (partition, last_position)
);

-- +goose StatementBegin
-- feed_positions gives positions to the movements that a statement has written. Their
-- SKUs are locked by then, and the partitions get locked in order: so a transaction that
-- waits here has no lock that the one before it needs. Only transactions with several
-- such statements may deadlock, and are tried again as a whole.
--
-- The wait has a bound of its own: that of the transaction may be one for orders.
create function lastunit.feed_positions() returns trigger language plpgsql
set lock_timeout = '5s' set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
begin
    with moved as materialized (
        select m.partition, array_agg(m.sku) as skus, array_agg(m.last_number) as last_numbers,
            array_agg(m.upto - m.moves) as behind, max(m.upto) as moves
        from (
            select s.partition, w.sku, w.last_number, w.last_number - w.first_number + 1 as moves,
                sum(w.last_number - w.first_number + 1) over (partition by s.partition order by w.sku desc, w.last_number desc)::bigint as upto
            from written w join lastunit.skus s on s.sku = w.sku
        ) m
        group by m.partition order by m.partition
    ), advanced as (
        update lastunit.feed f set position = f.position + m.moves
        from moved m
        where f.partition = m.partition
        returning f.partition, f.position, m.skus, m.last_numbers, m.behind
    )
    insert into lastunit.feed_entries (partition, last_position, skus, last_numbers, behind)
    select a.partition, a.position, a.skus, a.last_numbers, a.behind from advanced a;
    return null;
end $$;
-- +goose StatementEnd

-- What is there already, in the order in which it happened, and each SKU's in the order
-- of its numbers even where the clock was set back.
lock table lastunit.movement_batches in share row exclusive mode;
insert into lastunit.feed_entries (partition, last_position, skus, last_numbers, behind)
select b.partition,
    sum(b.last_number - b.first_number + 1) over (partition by b.partition order by b.at, b.sku, b.last_number),
    array[b.sku], array[b.last_number], '{0}'
from (
    select s.partition, b.sku, b.first_number, b.last_number, max(b.moved_at) over (partition by b.sku order by b.last_number) as at
    from lastunit.movement_batches b join lastunit.skus s on s.sku = b.sku
) b;
update lastunit.feed f set position = e.position
from (select partition, max(last_position) as position from lastunit.feed_entries group by partition) e
where e.partition = f.partition;

create trigger movement_batches_feed after insert on lastunit.movement_batches
    referencing new table as written for each statement execute function lastunit.feed_positions();

-- +goose StatementBegin
-- feed_after are a partition's first movements beyond a position. It reads entry by
-- entry until it has enough, as movements_after does, and no more of an entry than that:
-- each of its rows has a movement at least.
create function lastunit.feed_after(p_partition smallint, p_after bigint, p_limit bigint) returns table (
    partition smallint, feed_position bigint,
    sku text, number bigint, kind lastunit.movement_kind, quantity bigint, order_id text, reason text, reference text, moved_at timestamptz
) language sql stable set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
    set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
    select e.partition, e.last_position - r.behind - b.last_number + b.first_number - 1 + m.i,
        b.sku, b.first_number + m.i - 1, m.kind, m.quantity, m.order_id, b.reason, b.reference, b.moved_at
    from lastunit.feed_entries e
    cross join lateral (
        select r.sku, r.last_number, r.behind
        from unnest(e.skus, e.last_numbers, e.behind) r(sku, last_number, behind)
        where e.last_position - r.behind > p_after
        order by r.behind desc limit p_limit
    ) r
    join lastunit.movement_batches b on b.sku = r.sku and b.last_number = r.last_number
    cross join lateral unnest(b.kinds, b.quantities, b.order_ids) with ordinality m(kind, quantity, order_id, i)
    where e.partition = p_partition and e.last_position > p_after
        and e.last_position - r.behind - b.last_number + b.first_number - 1 + m.i > p_after
    order by e.last_position, e.last_position - r.behind - b.last_number + b.first_number - 1 + m.i limit p_limit
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- feed_head is when a partition's first movement beyond a position happened.
create function lastunit.feed_head(p_partition smallint, p_after bigint) returns timestamptz
language sql stable set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
    set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
    select b.moved_at
    from (
        select e.skus[1] as sku, e.last_numbers[1] as last_number
        from lastunit.feed_entries e
        where e.partition = p_partition and e.last_position > p_after
        order by e.last_position limit 1
    ) e join lastunit.movement_batches b on b.sku = e.sku and b.last_number = e.last_number
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- balance writes the movements that make the sums those of the counters, for
-- SKUs that are locked and have a ledger.
create or replace function lastunit.balance(p_skus text[], p_reason text) returns void language plpgsql as $$
declare
    r record;
begin
    -- In order and before the first movement, as one statement writes each.
    perform from lastunit.feed
    where partition in (select s.partition from lastunit.skus s where s.sku = any(p_skus))
    order by partition for update;
    for r in
        select s.sku, s.capacity - m.capacity as capacity, s.allocated - m.allocated as allocated
        from lastunit.moved_units(p_skus) m join lastunit.skus s on s.sku = m.sku
        where (s.capacity, s.allocated) <> (m.capacity, m.allocated)
    loop
        if r.capacity <> 0 then
            perform lastunit.write_movement(r.sku, 'capacity', r.capacity, p_reason, '');
        end if;
        if r.allocated <> 0 then
            perform lastunit.write_movement(r.sku, 'recounted', r.allocated, p_reason, '');
        end if;
    end loop;
end $$;
-- +goose StatementEnd

insert into lastunit.migrations (version, hash) values (6, 'e519afd2be86ff62c1b62a72afe87618b9f266502147c30c6c7b06d87830b14f');
