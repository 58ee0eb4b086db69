with
ranks as (select * from index.dei_ranks),

placed as (
    select
        ranks.region_code,
        ranks.year,
        ranks.ranked,
        ranks.score,
        ranks.rank,
        rank() over (partition by ranks.year, ranks.ranked order by ranks.rank) as place,
        lag(ranks.rank) over (
            partition by ranks.year, ranks.ranked order by ranks.rank, ranks.score desc
        ) as rank_before,
        lag(ranks.score) over (
            partition by ranks.year, ranks.ranked order by ranks.rank, ranks.score desc
        ) as score_before
    from ranks
),

final as (
    select placed.*
    from placed
    where placed.ranked <> (placed.rank is not null)
        or (placed.ranked and placed.score is null)
        or placed.rank <> placed.place
        or (placed.rank = placed.rank_before and not placed.score_before - placed.score <= 2e-10)
        or (placed.rank > placed.rank_before and not placed.score_before > placed.score)
)

select * from final
