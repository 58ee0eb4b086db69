-- Grain: one row per year, scheme and zone: how many of the leading cities of the composite lie in it.
with
members as (select * from release.deci_zone_members),

final as (
    select
        members.year,
        members.scheme,
        members.zone_id,
        members.name_zh,
        count(*) as cities,
        string_agg(members.region_name, ' ' order by members.rank, members.region_code) as city_names
    from members
    group by members.year, members.scheme, members.zone_id, members.name_zh
)

select * from final
