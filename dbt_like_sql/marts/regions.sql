-- Grain: one row per year with data and region in force in that year.
with
observations as (select * from core.observations),

regions as (select * from core.regions),

zones as (select * from core.zones),

years as (select distinct observations.year from observations),

in_force as (
    select years.year, regions.*
    from years
    inner join regions
        on regions.valid_from <= years.year
        and (regions.valid_to is null or regions.valid_to >= years.year)
),

provinces as (select * from in_force where level = 'province'),

north_south as (select * from zones where scheme = 'north_south'),

three_zones as (select * from zones where scheme = 'nbs3'),

final as (
    select
        in_force.year,
        in_force.region_code,
        in_force.valid_from,
        in_force.name_zh,
        in_force.short_name_zh,
        in_force.name_en,
        in_force.level,
        provinces.region_code as province_code,
        provinces.short_name_zh as province_name,
        three_zones.zone_id,
        north_south.zone_id as north_south
    from in_force
    left join provinces
        on in_force.year = provinces.year
        and provinces.region_code
        = (case when in_force.level = 'province' then in_force.region_code else in_force.parent_code end)
    left join three_zones on provinces.region_code = three_zones.region_code
    left join north_south on provinces.region_code = north_south.region_code
)

select * from final
