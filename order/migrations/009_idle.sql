-- +goose Up
-- 009_idle: idle SKUs are compared in turn, and the store knows its inventory.

-- The background work goes on in a partition after this SKU.
alter table lastunit.partitions add column position text collate "C" not null default '';

-- The inventory that the store is used with, as it names itself; empty until the
-- background work has met one. Another one would be loaded with the same units.
alter table lastunit.store add column inventory text not null default '';

insert into lastunit.migrations (version, hash) values (9, '279a8fadc420726bde4a566e9f49f8620a1b6c3887b0843edb45e95f7c1016ad');
