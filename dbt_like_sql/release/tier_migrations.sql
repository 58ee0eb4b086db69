-- Grain: one row per year, tier of the year before and tier of the year, over the cities ranked in both.
with
ranks as (select * from index.dei_ranks where ranked),

ranking as (select * from release.dei_ranking),

pairs as (
    select
        ranking.year,
        ranks.year as from_year,
        ranks.tier_id as from_tier,
        ranking.tier as to_tier,
        ranking.region_name,
        ranking.rank
    from ranking
    inner join ranks on ranking.region_code = ranks.region_code and ranking.year = ranks.year + 1
),

final as (
    select
        pairs.year,
        pairs.from_tier,
        pairs.to_tier,
        pairs.from_year,
        pairs.from_tier <> pairs.to_tier as moved,
        count(*) as cities,
        string_agg(pairs.region_name, '、' order by pairs.rank, pairs.region_name) as city_names
    from pairs
    group by pairs.year, pairs.from_tier, pairs.to_tier, pairs.from_year
)

select * from final
