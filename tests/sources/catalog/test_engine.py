import threading

import sqlalchemy as sql

from pipeline.sources.catalog import Catalog
from pipeline.sources.catalog.engine import reading, writing
from tests.sources.catalog.rows import a_file, a_volume


def test_writers_of_one_volume_lose_nothing_of_each_other(url):
    catalog = Catalog(url)
    catalog.save(volumes=[a_volume("v")])
    start = threading.Barrier(4)

    def write(worker: int) -> None:
        own = Catalog(url)
        start.wait()
        for number in range(10):
            own.save([a_file(f"/d/{worker}/{number}", "v")])
        own.close()

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(catalog.records()) == 40
    with reading(catalog.engine) as connection:
        assert connection.execute(sql.text("SELECT files FROM volume")).scalar_one() == 40
        assert connection.execute(sql.text("SELECT count(*) FROM place")).scalar_one() == 4
    catalog.close()


def test_a_reader_sees_one_state_while_another_writes(catalog):
    catalog.save([a_file("/d/1")])
    count = sql.text("SELECT count(*) FROM file")
    with reading(catalog.engine) as reader:
        assert reader.execute(count).scalar_one() == 1
        catalog.save([a_file("/d/2")])
        assert reader.execute(count).scalar_one() == 1
    assert len(catalog.records()) == 2


def test_a_writer_that_fails_leaves_nothing(catalog):
    try:
        with writing(catalog.engine) as connection:
            connection.execute(sql.text("INSERT INTO archive VALUES ('/d', 1, 1)"))
            raise KeyError
    except KeyError:
        pass
    with reading(catalog.engine) as connection:
        assert connection.execute(sql.text("SELECT count(*) FROM archive")).scalar_one() == 0


def test_sqlite_writes_ahead_and_a_second_connection_keeps_to_it(tmp_path):
    url = f"sqlite:///{tmp_path / 'made' / 'catalog.db'}"
    for _ in range(2):
        catalog = Catalog(url)
        with reading(catalog.engine) as connection:
            assert connection.execute(sql.text("PRAGMA journal_mode")).scalar_one() == "wal"
        catalog.close()
