from pipeline.progress import by_percent, paced


def told(clock, *calls):
    heard = []
    tell = paced(lambda *one: heard.append(one), iter(clock).__next__)
    for done, total, *partly in calls:
        tell(done, total, "detecting", *partly)
    return [what for _, _, what in heard]


def test_pace_and_time_left_are_of_this_run_and_not_of_what_was_done_before():
    # 100 were done before; then 20 in 10 s, so 2 a second, and 880 are left: 440 s.
    assert told([0, 0, 10], (100, 1000), (120, 1000)) == ["detecting", "detecting, 2.0 a second, 7 min left"]


def test_slow_work_is_told_by_the_minute_or_the_hour():
    assert told([0, 0, 60], (0, 31), (1, 31))[1] == "detecting, 1.0 a minute, 30 min left"
    assert told([0, 0, 1200], (0, 11), (1, 11))[1] == "detecting, 3.0 an hour, 3 h 20 min left"
    assert told([0, 0, 4], (0, 10), (5, 10))[1] == "detecting, 1.2 a second, 4 s left"


def test_nothing_is_foretold_before_anything_is_done():
    assert told([0, 0, 5], (3, 10), (3, 10)) == ["detecting", "detecting"]


def test_what_is_done_in_part_counts():
    assert told([0, 0, 60], (2, 4), (2, 4, 0.25))[1] == "detecting, 25% of one that is large, 15.0 an hour, 7 min left"


def test_percentages_are_told_once_each():
    heard = []
    progress = by_percent(lambda percent, what: heard.append((percent, what)))
    for done in range(1001):
        progress(done, 1000, f"at {done}")
    assert len(heard) == 101
    assert heard[:2] == [(0, "at 0"), (1, "at 10")]
    assert heard[-1] == (100, "at 1000")


def test_of_nothing_all_is_done():
    heard = []
    by_percent(lambda percent, what: heard.append(percent))(0, 0, "detecting")
    assert heard == [100]
