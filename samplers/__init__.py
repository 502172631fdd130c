"""Reverse-time solvers: how a score is followed back to data, and nothing of networks or training."""

from samplers.adams import deis, ipndm, lms
from samplers.ancestral import ancestral
from samplers.base import Samples, State, Stepper, predictor_corrector, sample, tweedie
from samplers.categorical import categorical_ancestral, discrete_flow, jump_corrector, tau_leaping
from samplers.classifier import classifier_guide, classifier_guided
from samplers.create import create, create_categorical, draw, process_of, settled
from samplers.ddim import ddim
from samplers.dpm_solver import dpm_solver
from samplers.dpm_solver_singlestep import dpm_solver_2s, dpm_solver_sde, dpm_solver_singlestep
from samplers.euler_maruyama import euler_maruyama
from samplers.flow import flow_euler, flow_heun
from samplers.guidance import autoguidance, classifier_free
from samplers.infilling import infilled, keeping, logits_guided
from samplers.langevin import annealed_langevin, langevin
from samplers.maps import jump, renoise
from samplers.methods import CATEGORICAL, CORRECTORS, DETERMINISTIC, MAPS, PREDICTORS, SOLVERS
from samplers.ode import FlowSolution, decode, draw_probes, encode, solve_flow
from samplers.reverse_diffusion import reverse_diffusion
from samplers.runge_kutta import Churn, dpm_2, euler, heun
from samplers.schedulers import SCHEDULERS
from samplers.settings import METHODS, Settings
from samplers.threshold import thresholded
from samplers.unipc import unipc
from samplers.unmasking import maskgit, unmasking
