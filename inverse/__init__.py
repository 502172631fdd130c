"""What is known of an image, and sampling what agrees with it: wrappers of scores and steppers."""

from inverse.blend import blend
from inverse.consistent import consistent
from inverse.create import create
from inverse.dps import dps
from inverse.interpolate import Interpolation, interpolate, slerp
from inverse.measurement import LinearMeasurement, linear
from inverse.methods import METHODS, Method, mcg
from inverse.posterior import posterior_score
from inverse.ready import blur, downsample, grey, mask, matrix
from inverse.repaint import repaint
from inverse.replacement import replacement
from inverse.vary import noise_at_start, vary
