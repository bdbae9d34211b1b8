-- +goose Up
-- 007_ahead: counters in Redis may be of an epoch that this database never began.

-- +goose StatementBegin
-- begin_epoch moves a SKU to a new epoch if its epoch is still the one that the
-- caller saw, and says whether it did. From then on, every deduction of an older epoch is void.
--
-- An epoch above the SKU's own was seen in Redis and never begun here: this database was
-- restored, or somebody wrote there. The new one is above it, so that the SKU never comes
-- to an epoch whose deductions were taken for void before. No clock gets to 2^51 before
-- the year 73,000: an epoch from there on is left alone, as to follow it would use up
-- what is left below 2^52.
create or replace function lastunit.begin_epoch(p_store uuid, p_sku text, p_seen bigint) returns boolean language plpgsql as $$
begin
    perform lastunit.enter(p_store);
    update lastunit.skus
    set epoch = lastunit.next_epoch(p_seen), version = version + 1, admitted = 0, top_seq = 0
    where sku = p_sku and (epoch = p_seen or epoch < p_seen and p_seen < 2251799813685248);
    if not found then
        return false;
    end if;
    delete from lastunit.fences where sku = p_sku and epoch <= p_seen;
    return true;
end $$;
-- +goose StatementEnd

insert into lastunit.migrations (version, hash) values (7, '17ebe0a9e3c706a59612158da0ca9ee14a94275ab3ed77467c97dd77f7b64a43');
