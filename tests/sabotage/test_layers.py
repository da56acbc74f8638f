"""Where two layers protect, a variant of one of them is not bad alone: what the table says of such a variant is true."""

import pytest
import trio

from actors.activation.upkeep import Upkeep
from actors.storage import room_file
from actors.storage.rehome import rehome_wal
from tests.sabotage import scenes
from tests.sabotage.table import played
from tests.sabotage.variants import Setter, Variant, sabotaged


def checkpoint_without_the_rooms_lock(put: Setter) -> None:
    init = Upkeep.__init__
    put(Upkeep, "__init__", lambda self, *given: init(self, *given[:-1], trio.Lock()))


def checkpoint_outlives_its_activation(put: Setter) -> None:
    look = Upkeep.look
    put(Upkeep, "look", lambda self, nursery, seq: look(self, self._kept._housing._house._nursery, seq))


def newborn_kept_and_called_unproven(put: Setter) -> None:
    put(room_file, "_put_right", lambda storage: (storage.abandon(), rehome_wal(storage.disk, storage.path)))


@pytest.mark.parametrize(
    ("patch", "scene"),
    [
        (checkpoint_without_the_rooms_lock, scenes.sync_fails_beside_a_checkpoint),
        (checkpoint_outlives_its_activation, scenes.sync_fails_beside_a_checkpoint),
        (newborn_kept_and_called_unproven, scenes.newborn_fails),
    ],
    ids=lambda given: given.__name__,
)
def test_the_other_layer_protects_alone(patch, scene):
    with sabotaged(Variant(patch.__name__, 0, patch)):
        assert played(scene).problems == []
