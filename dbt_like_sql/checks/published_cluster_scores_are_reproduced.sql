with
comparison as (select * from release.published_comparison),

final as (
    select comparison.*
    from comparison
    where comparison.key like '%|published' and not comparison.within_rounding
)

select * from final
