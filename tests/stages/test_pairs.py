"""Which versions are compared with which."""

from pipeline.stages.pairs import champions_in_order, pairs_to_compare, report_targets


def test_successive_versions_of_a_name_are_compared():
    versions = ["cells/1", "lesions/4", "cells/2", "cells/2", "cells/3"]
    champions = champions_in_order(["cells/1", "lesions/3", "cells/1", "cells/1", "cells/3"])
    assert champions == {"cells": "cells/3", "lesions": "lesions/3"}
    assert pairs_to_compare(versions, champions) == [
        ("cells/1", "cells/2"),
        ("cells/2", "cells/3"),
        ("lesions/3", "lesions/4"),
    ]
    assert report_targets(versions, champions) == ["cells/2..cells/3", "lesions/3..lesions/4"]


def test_single_first_version_is_compared_with_nothing():
    assert pairs_to_compare(["cells/1"], {"cells": "cells/1"}) == []
    assert report_targets(["cells/1"], {"cells": "cells/1"}) == ["cells/1"]
