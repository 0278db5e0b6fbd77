import numpy as np
import pytest

from pipeline.transforms.elastic import Displacement


@pytest.mark.parametrize(("shape", "voxel"), [((128, 96), (1.0, 1.0)), ((48, 48, 24), (0.8, 0.8, 2.0))])
def test_displacements_have_the_deviation_asked_for_in_all_directions_of_the_world(shape, voxel):
    edges = np.array(voxel)
    drawn = [Displacement.draw(seed, 1.5, shape, edges).everywhere.flatten(1) for seed in range(60)]
    deviation = np.concatenate([one.numpy() for one in drawn], axis=1).std(axis=1)
    np.testing.assert_allclose(deviation * edges, 1.5 * edges.min(), rtol=0.12)


@pytest.mark.parametrize(("shape", "deviation"), [((96, 96), 1.0), ((96, 96), 12.0), ((40, 40, 30), 6.0)])
def test_no_displacement_folds_the_image(shape, deviation):
    for seed in range(5):
        moved = Displacement.draw(seed, deviation, shape, np.ones(len(shape))).everywhere.numpy()
        slopes = np.stack([np.stack(np.gradient(one, axis=range(len(shape)))) for one in moved])
        jacobian = np.eye(len(shape)) + np.moveaxis(slopes, (0, 1), (-2, -1))
        assert np.linalg.det(jacobian).min() > 0


def test_everywhere_and_at_agree_and_origins_undo_them():
    displacement = Displacement.draw(3, 2.0, (40, 50), np.array([1.0, 2.0]))
    points = np.array([[0.0, 0.0], [17.0, 31.0], [39.0, 49.0]])
    everywhere = displacement.everywhere.numpy()
    at = displacement.at(points)
    np.testing.assert_allclose(at, [everywhere[:, int(i), int(j)] for i, j in points], atol=1e-5)
    np.testing.assert_allclose(displacement.origins(points + at), points, atol=5e-3)
    assert (np.abs(everywhere).max(axis=(1, 2)) <= displacement.bound).all()
