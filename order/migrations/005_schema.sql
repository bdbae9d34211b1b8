-- +goose Up
-- 005_schema: the schema knows of which build it is.
--
-- The files before this one were changed in place before their release, so their
-- number alone does not tell what is in the database. This one verifies it once; from
-- here on each file records its hash. It is the sha256 of the file's text above its last
-- line, which records it.

-- +goose StatementBegin
-- All that 001 to 004 make must be there as they make it. What is there besides is of
-- no interest: somebody's own columns, triggers, functions, and further settings of a
-- function.
do $$
declare
    v_differ text;
begin
    if current_setting('server_encoding') <> 'UTF8' then
        raise exception 'the encoding of this database is %, and lastunit needs UTF8', current_setting('server_encoding')
            using errcode = '0A000';
    end if;
    select string_agg(d.what, ', ' order by d.what) into v_differ from (
        select 'function ' || f.name as what
        from (values
            ('adjust_capacity', '', '3428cd8f8ffd2ac7250e823907a0315f9543ed395db6c8f20e5610fc04b9ccee'),
            ('await_standbys', '', 'db56c9200137a779aabafa8bfaac4d4ff40f204ce82e18ed5c5cadee9b61a47d'),
            ('balance', '', 'cfefe90a03ab33482b273c9ef90a770d29d8855a9845d81339e82c900e0d8099'),
            ('begin_epoch', '', '29cbf32d010b7251f26f60f9545a91b3dc4fb0bd14d16ddde5ba026595bad0b1'),
            ('beyond_limits', 'enable_seqscan=off,jit=off', 'b2c95a7c99af716f9fdab914b3400bf589f1a86a1132e0d35f431602465c6755'),
            ('change_in_transaction', 'enable_seqscan=off,jit=off', '6920725d3787c183802461c17cd7a97b61fb9b8a5cf8bf49d349c63535e67f74'),
            ('change_orders', 'enable_seqscan=off,jit=off', 'cd2dc0a03f40db6fe994a92ff0d2d39e11fd8014397252a093bab0c5da1073e8'),
            ('closed_because', '', '43b7ea47cd06e77ff80de15b739de9e9ccaaf83df452787e648b3248299f7682'),
            ('commit_orders', 'enable_seqscan=off,jit=off', '58e86f7d9941188a6e23b9db0fdafd9b10a3054ba4a59963324f483696c956d6'),
            ('decide_orders', 'enable_seqscan=off,jit=off', '334cbf59f944b940511083a48853da0c3fe76145b8e821b18ef2d690b010f572'),
            ('enter', '', '49c089be5e85857f35929158ccfa4d3764d19837b954aca6aef9cb6f6a623c66'),
            ('fence_deductions', 'enable_seqscan=off,jit=off', '79a8479191ab6a058b59661475b27589203b9f4894f832aa5eecde4fc03fd109'),
            ('gather_units', 'enable_seqscan=off,jit=off', 'bb5b072532d668edff86ec082039e1f07c50c295007d983eefeedfe64c365418'),
            ('misdrawn_orders', 'enable_seqscan=off,jit=off', '2b73771d5edd1678e49d4fd6ec9d39032d3a05551729c3becd416fe0c7ad98b7'),
            ('moved_units', '', 'bda4718fcb3bc5002cf3df77646e38c2b41c7ea3906d39ef9702c6aa497459d4'),
            ('movements_after', 'enable_seqscan=off,enable_bitmapscan=off,enable_sort=off,jit=off', 'b5af24d357563142e94b5a4a8abc3a18c8e90aabd8fff9bb1cbc6a21d70f5932'),
            ('next_epoch', '', '456b2549dc1b97eeeef1d486c44e55ef5efa9683668a831be040eef609d1bffd'),
            ('put_on_sale', '', 'dd8b6985e49e0fd7828560756c9a333b1ca55b513dfc5d629dc3519900d93e88'),
            ('recount', '', '5a7d5bb4ab7f76184eae8ccff88625b87549ce207acfbda8e857cf8507d54263'),
            ('refuse_orders', 'enable_seqscan=off,jit=off', '48588eff557cd020f55401bdfbdec49499bab4f8ed9d7cc61481f481bffeae1e'),
            ('reopen', '', '4aba8ac74ce1ec8e8b4370437cbefa4172346fc3460c4c65a6e17d6d6eaf68b5'),
            ('set_ledger', '', '29d1555779203267ec5fbb9ca3551406ac3e0d8c4b9721e9b6d77c9a04a3a60c'),
            ('set_limit', '', 'e4891a0187d00870aa289f3a00ca1a9acf2244fdeceabc18cfce825b6b2960a3'),
            ('set_paused', '', '858e63a21c1f06e3d609fa8e16189b4e8cd77ae503e1ba9481ac3c1c8b3e5950'),
            ('set_window', '', '33b5ec9e9c579f873ed3d96d039a9730bc21da7479fdf6e64e84ece5c8b7f5c1'),
            ('used_by_customer', '', 'fbc03fc43c92b59fa0b89ed2acb26de0c46d5646c244480ed7789b45ce35d81a'),
            ('write_changes', 'enable_seqscan=off,jit=off', '56cc330c04e042ac3548c34c994de9a8ccb963e49c338c1693186afd61abc888'),
            ('write_movement', '', '5600e17dbfb0071929aeb7e0c240cd58104589aefb62c2b95ca2eb2c91842cae'),
            ('write_movements', 'enable_seqscan=off,jit=off', '3d12f08da63ae29ddc9657c6509ce3c54c5a95015acc6e769285630c6f8790cf')
        ) f(name, config, hash)
        where not exists (
            select from pg_catalog.pg_proc p
            where p.pronamespace = 'lastunit'::regnamespace and p.proname = f.name
                and encode(sha256(convert_to(p.prosrc, 'UTF8')), 'hex') = f.hash
                and coalesce(p.proconfig, '{}') @> string_to_array(f.config, ','))
        union all
        select 'column ' || c.relation || '.' || w.described
        from (values
            ('adjustments', 'id text not null, sku text not null, kind text not null, units int8 not null, reason text not null,
                reference text not null, adjusted_at timestamptz not null'),
            ('fences', 'sku text not null, epoch int8 not null, seq int8 not null, fenced_at timestamptz not null'),
            ('migrations', 'version int4 not null, applied_at timestamptz not null'),
            ('movement_batches', 'sku text not null, first_number int8 not null, last_number int8 not null, moved_at timestamptz not null,
                kinds _movement_kind not null, quantities _int8 not null, order_ids _text, reason text, reference text'),
            ('movements', 'sku text, number int8, kind movement_kind, quantity int8, order_id text, reason text, reference text,
                moved_at timestamptz'),
            ('orders', 'id text not null, number int8 not null, customer text not null, status order_status not null,
                counted order_status not null, digest bytea, skus _text not null, quantities _int8 not null, drawn _int8,
                consumed _int8 not null, limited bool not null, expires_at timestamptz, due_at timestamptz,
                created_at timestamptz not null, changed_at timestamptz not null, refused text, refused_sku text'),
            ('partitions', 'partition int2 not null, claimed_at timestamptz not null'),
            ('skus', 'sku text not null, partition int2 not null, capacity int8 not null, allocated int8 not null,
                admitted int8 not null, epoch int8 not null, version int8 not null, top_seq int8 not null,
                customer_limit int8, opens_at timestamptz, closes_at timestamptz, paused bool not null, draw_skus _text,
                draw_quantities _int8, ledger bool not null, recorded bool not null, moved int8 not null,
                reopens_at timestamptz, created_at timestamptz not null'),
            ('store', 'one bool not null, id uuid not null, ledger bool not null, digest_key bytea not null')
        ) c(relation, columns), regexp_split_to_table(c.columns, ',[[:space:]]+') w(described)
        where not exists (
            select from pg_catalog.pg_class r
            join pg_catalog.pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
            join pg_catalog.pg_type t on t.oid = a.atttypid
            where r.relnamespace = 'lastunit'::regnamespace and r.relname = c.relation
                and a.attname || ' ' || t.typname || case when a.attnotnull then ' not null' else '' end = w.described)
    ) d;
    if v_differ is not null then
        raise exception 'this database was made by another build of lastunit, not by its migrations 001 to 004'
            using errcode = 'LU003', detail = 'Not as expected: ' || v_differ || '.',
                hint = 'Sell there with the build that made it, or make the database anew if it has no orders yet.';
    end if;
end $$;
-- +goose StatementEnd

alter table lastunit.migrations add column hash text;
update lastunit.migrations m set hash = h.hash
from (values
    (1, 'e4b6841ad3251890f2ed16b3f37239c6538b38d2293091f500db2da1c49b9193'), -- 001_tables.sql, all of it
    (2, '0c23979ea932c04047250fb77f9683cbad50b86576b96e9451b412d28d2af751'), -- 002_commit.sql
    (3, '5001eb6b76017d00436dfef21e8c8139edebaa2b5cc6d2399e187ed03400ffae'), -- 003_change.sql
    (4, '57e0153c9dae0cfd8714fbb3d1e8f9e36dc7f48c3bd0240faa76adfb2c52763e')  -- 004_sale.sql
) h(version, hash)
where m.version = h.version;
alter table lastunit.migrations alter column hash set not null;

-- Builds of one format sell side by side on one database. A build that meets another
-- format than its own refuses.
alter table lastunit.store add column format integer not null default 1 check (format > 0);

insert into lastunit.migrations (version, hash) values (5, '325aff6ceb0c381c865734a871559275ee40638d49e4df4cdebb4b9a1f152986');
