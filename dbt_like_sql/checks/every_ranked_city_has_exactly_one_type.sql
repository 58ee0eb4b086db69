with
types as (select * from index.deci_types),

ranks as (select * from index.deci_ranks where ranked),

final as (
    select
        coalesce(ranks.region_code, types.region_code) as region_code,
        coalesce(ranks.year, types.year) as year,
        ranks.rank,
        count(types.type_id) as types
    from ranks
    full join types on ranks.region_code = types.region_code and ranks.year = types.year
    group by coalesce(ranks.region_code, types.region_code), coalesce(ranks.year, types.year), ranks.rank
    having count(types.type_id) <> 1 or ranks.rank is null or min(types.rank) <> ranks.rank
)

select * from final
