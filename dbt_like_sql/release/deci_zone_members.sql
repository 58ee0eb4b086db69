-- Grain: one row per year, scheme, zone and leading city of the composite that lies in it.
with
leaders as (select * from release.deci_leaders where level = 0),

zones as (select * from core.zones where scheme in ('nbs3', 'north_south')),

final as (
    select
        leaders.year,
        zones.scheme,
        zones.zone_id,
        leaders.region_code,
        zones.name_zh,
        leaders.region_name,
        leaders.rank,
        leaders.node_id,
        leaders.province_code
    from leaders
    inner join zones on leaders.province_code = zones.region_code
)

select * from final
