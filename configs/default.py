"""The base of every experiment: all fields, each with the default that the published recipes share.

An experiment is a short difference from it. Fields keep the names of the 2021 score_sde code where they mean the same.
"""

from ml_collections import ConfigDict

EMA_FIELDS = ("ema_rate", "ema_warmup", "ema_halflife_images", "ema_rampup")
"""The fields of a config's model that say how its weights are averaged."""
USES = ("prediction", "noise_label", "preconditioning", "reading", *EMA_FIELDS)
"""The fields of a config's model that say how a network is used, and are no options of its own."""


def with_network(config: ConfigDict, name: str, **options: object) -> None:
    """Take another network with these options; how it is used stays, where the options do not say it anew."""
    with config.unlocked():
        config.model = ConfigDict({use: config.model[use] for use in USES} | {"name": name} | options)


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 42

    # The forward process: `name` is vp, subvp, ve, edm, discrete or vdm, the rest are its options (sde_lib.create).
    # Over categories it is masked, uniform or d3pm (sde_lib.create_categorical).
    config.sde = ConfigDict({"name": "vp", "t_min": 1e-5})

    # The network: `name` and its options (models.create). What follows the network belongs to its use.
    config.model = ConfigDict({"name": "ncsnpp"})
    config.model.prediction = "eps"  # eps, x0, v, velocity or score
    config.model.noise_label = "t999"  # how it is told the noise: t999, t, sigma, log_snr, gamma; discrete: index, ...
    config.model.reading = "posterior"  # of categories, what logits are; evidence, published (D3PM), ratios (SEDD)
    config.model.preconditioning = "none"  # edm, vp, ve, iddpm, consistency, ect or trigflow: in place of these two
    config.model.ema_rate = 0.9999
    config.model.ema_warmup = True  # min(ema_rate, (1 + n) / (10 + n)); False: constant, as the published JAX code
    config.model.ema_halflife_images = 0.0  # > 0: in place of the two above, as Karras et al. 2022
    config.model.ema_rampup = 0.05  # of the half-life: at most this share of the images seen; 0: constant

    # The data: `dataset` is a name of data.SOURCES or 'tfds:NAME'; keys not listed here are the source's options.
    config.data = data = ConfigDict()
    data.dataset = "digits"
    data.tokenizer = ""  # of networks that read texts: words (of the data set), clip:, openai: or glide:FOLDER
    data.text_encoder = ""  # of networks that are told features of texts: a folder with text_encoder/ and tokenizer/
    data.clip_skip = 0  # how many layers more than published are left out at the end of the text encoder
    data.codec = "levels"  # to what the model sees: levels, categories, or the folder of an autoencoder's run
    data.codec_checkpoint = -1  # its step; -1: the newest
    data.latent_scale = (
        None  # of x = (latent - shift) * scale; None: the autoencoder's own, or 1 / the deviation of the
    )
    data.latent_shift = None  # first batch; None: the autoencoder's own, or its mean; what is measured is saved here
    data.latent_cache = ""  # a folder in which encoded data sets are kept; "": they are encoded as they are read
    data.latent_tile = 0  # latents a side that are decoded at once, for pictures that do not fit; 0: all
    data.centered = True  # [-1, 1]; False: [0, 1]
    data.uniform_dequantization = False
    data.changed = "refuse"  # a run is not continued with other data; accept: it is, and what they are is recorded
    data.random_flip = False
    data.augment = 0.0  # probability of each of EDM's geometric augmentations, for networks with model.augment_dim 9

    config.training = training = ConfigDict()
    training.batch_size = 128  # of all devices and processes together
    training.n_iters = 1_300_001
    training.n_jitted_steps = 1  # optimisation steps in one call
    training.accumulate = 1  # micro-batches in which a step takes its batch, to need less memory; a run may change it
    training.parallelism = "pmap"  # or fsdp: weights, average and moments cut over the devices; a run may change it
    training.remat = False  # recompute residual blocks in the backward pass: less memory, a sixth more time
    training.continuous = True  # t in [t_min, 1]; False: the model.num_scales noise levels of DDPM (vp) or SMLD (ve)
    training.time_sampling = "uniform"  # over [t_min, 1] or the levels; loss_aware (levels), log_snr, lognormal (EDM),
    # logit_normal (flows)
    training.P_mean = -1.2  # of ln(sigma / alpha), lognormal
    training.P_std = 1.2
    training.logit_mean = 0.0  # of log(t / (1 - t)), logit_normal
    training.logit_std = 1.0
    training.time_shift = 1.0  # s of t' = s t / (1 + (s - 1) t); above 1 more noise is trained
    training.weight = "uniform"  # of an error of eps: snr, snr_plus_1 (the plain error of v), truncated_snr, min_snr,
    # p2, edm, likelihood (training/weighting.py)
    training.min_snr_gamma = 5.0
    training.p2_k = 1.0
    training.p2_gamma = 1.0
    training.sigma_data = 0.5  # of the weight edm
    training.loss = "simple"  # flow_matching; hybrid, variational: of noise levels; vdm: continuous; over categories
    # categorical, score_entropy, discrete_flow; cross_entropy:
    # classifier; contrastive: CLIP; of maps: mean_flow, continuous_consistency, progressive_distillation,
    # consistency, improved_consistency, easy_consistency; of compression: autoencoder; of generators: vae,
    # adversarial
    training.coupling = "independent"  # of noise and data in flow_matching, mean_flow; optimal_transport or reflow
    training.coupling_size = 32  # examples among which optimal_transport assigns
    training.tangent_warmup = 10_000  # steps of continuous_consistency
    training.tangent_c = 0.1
    training.distilled_steps = 4  # of the student in progressive_distillation
    training.total_steps = 0  # over which the schedules of consistency losses go; 0: n_iters
    training.scale_mode = "progressive"  # the grid's points of consistency; or fixed, start_scales of them
    training.start_scales = 2  # of consistency; improved_consistency: 10 and 1280 were published
    training.end_scales = 150
    training.target_ema_mode = "adaptive"  # the target's rate in consistency; or fixed
    training.start_ema = 0.9
    training.karras_power = 7.0  # of the grid of these two
    training.loss_norm = "l2"  # l1, l2_32, linf: the distance in consistency
    training.consistency_weight = "uniform"  # snr, snr_plus_1, truncated_snr, karras: of an error of the image
    training.huber_c = 0.00054  # of improved_consistency and easy_consistency, times sqrt(an example's numbers)
    training.ect_q = 2  # easy_consistency: r = t (1 - q^-(stage + 1) (1 + k sigmoid(-b t)))
    training.ect_k = 8.0
    training.ect_b = 1.0
    training.doubling_steps = 0  # steps of a stage; 0: there is one
    training.reflow_pairs = 50_000  # of reflow: drawn once by the flow of training.teacher
    training.reflow_sampler = "heun"
    training.reflow_evaluations = 50
    training.same_time = 0.75  # of mean_flow: the share of examples without a jump
    training.norm_power = 1.0  # of its weight (error + norm_eps)^-norm_power
    training.norm_eps = 0.01
    training.guidance_omega = 1.0  # what it learns is guided: omega v + (1 - omega - kappa) u(nothing) + kappa u
    training.guidance_kappa = 0.0
    training.guidance_start = 0.0  # at the times between these
    training.guidance_end = 1.0
    training.teacher = ""  # folder of a run that the loss learns from
    training.teacher_checkpoint = -1
    training.begin_with = ""  # folder of a run with whose averaged weights the training begins
    training.variance = "learned_range"  # of the reverse steps in those two: small, large, learned_range or learned
    training.vlb_weight = 0.001  # of the bound in hybrid
    training.cross_entropy_weight = 0.0  # of -log p(x_0 | x_t) beside the bound over categories; published: 0.001
    training.log_eps = 0.0  # added to probabilities in their logarithms there; published: 1e-6
    training.bound_steps = 0  # of vdm and the bound over categories: 0 is continuous time, T a chain of T steps
    training.loss_history = 10  # losses kept a level, time_sampling loss_aware
    training.uniform_probability = 0.001  # share of uniform levels, loss_aware
    training.likelihood_weighting = False  # weight g^2, the weight "likelihood"; False: sigma^2
    training.importance_sampling = False  # t uniform in log SNR; for likelihood_weighting
    training.reduce_mean = True  # mean over an image's numbers; False: half their sum
    training.stratified = False  # one t from each of batch_size strata
    training.pixel_loss = "l1"  # or l2: of an autoencoder, as is all down to disc_factor
    training.perceptual = "none"  # or lpips, which needs eval.vgg16 and eval.lpips_heads
    training.perceptual_weight = 1.0
    training.logvar_init = 0.0  # of the KL autoencoder
    training.learn_logvar = False
    training.kl_weight = 1e-6
    training.codebook_weight = 1.0  # of the VQ autoencoder
    training.codebook_beta = 0.25
    training.codebook_legacy = True  # beta is on the codebook's term, as in latent diffusion; False: on the encoder's
    training.disc_loss = "hinge"  # or vanilla
    training.disc_norm = "batch"  # or act
    training.disc_layers = 3
    training.disc_channels = 64
    training.disc_start = 50_001  # batches before the discriminator counts
    training.disc_weight = 0.5  # times the adaptive weight
    training.disc_factor = 1.0  # 0: there is no discriminator
    training.vae_beta = 1.0  # of the divergence in vae, whose network is model.name vae
    training.free_bits = 0.0  # nats that each latent number costs at least
    training.importance_samples = 1  # > 1: the importance-weighted bound of so many samples
    training.gan_loss = "non_saturating"  # of adversarial, as is all down to gradient_penalty: saturating, hinge,
    # least_squares, wasserstein, relativistic; its discriminator has disc_layers and disc_channels
    training.disc_lr_ratio = 1.0  # of the discriminator's learning rate to the generator's, which is optim.lr
    training.r1_gamma = 0.0  # half of it weighs the discriminator's squared slope at data
    training.r1_interval = 1  # > 1: once in so many steps, with so many times its weight, as StyleGAN2: 16
    training.r2_gamma = 0.0  # and at samples
    training.gradient_penalty = 0.0  # weighs its slope's distance from 1 between them; published: 10
    training.label_dropout = 0.1  # share of examples whose class a network with model.label_dim is not told
    training.nan_to_num = False  # of gradients: NaN to 0, infinity to 1e5, as EDM; False: the run stops
    training.log_freq = 50
    training.eval_freq = 1000  # steps between losses on the test set; 0: never
    training.snapshot_freq = 50_000  # steps between archived checkpoints, kept for ever, each with a grid of samples
    training.snapshot_freq_for_preemption = 10_000  # steps between rolling checkpoints
    training.ema_stds = ()  # widths of power-function averages kept beside the one of model.ema_rate: (0.05, 0.1)
    training.ema_snapshot_freq = 10_000  # steps between snapshots of these, from which eval.ema_std makes any width
    training.keep_checkpoints = 3  # rolling ones
    training.snapshot_sampling = True
    training.snapshot_fid_samples = 0  # > 0: the FID of so many at each snapshot, which needs eval.inception and
    # eval.reference_stats; the checkpoint with the lowest is named in best_fid.json, and kept
    training.trackers = ("jsonl", "tensorboard")  # wandb, mlflow: what is told the curves (docs/tracking.md)
    training.tracker_options = ConfigDict()  # options of some of them: {"NAME": {"option": value}}

    config.optim = optim = ConfigDict()
    optim.optimizer = "Adam"  # AdamW, RAdam or Muon (training/optimizer.py)
    optim.lr = 2e-4
    optim.beta1 = 0.9
    optim.beta2 = 0.999
    optim.eps = 1e-8
    optim.weight_decay = 0.0
    optim.warmup = 5000
    optim.warmup_images = 0.0  # > 0: in place of warmup, a ramp over so many images
    optim.grad_clip = 1.0
    optim.decay_steps = 0  # > 0: the rate falls to 0 as half a cosine over so many steps
    optim.inverse_sqrt_steps = 0  # > 0: behind so many steps it falls as 1 / sqrt(n), as Karras et al. 2024

    # Samplers; samplers.Settings says what each field means.
    config.sampling = sampling = ConfigDict()
    sampling.method = "pc"
    sampling.predictor = "euler_maruyama"
    sampling.corrector = "none"
    sampling.snr = 0.16
    sampling.n_steps_each = 1
    sampling.corrector_norm = "sample"
    sampling.steps = 1000
    sampling.flow_steps = 50
    sampling.evaluations = 20  # of the few-step solvers: ddim, dpmpp_2m, unipc_3, heun, ...
    sampling.grid = "auto"  # uniform, or what is best for a few-step solver: samplers.defaults
    sampling.karras_power = 7.0
    sampling.grid_shift = 3.0  # of the grid shifted
    sampling.grid_noise = ()  # of the grid given: sigma / alpha of the times between its ends
    sampling.t_min = 1e-3
    sampling.denoise = "tweedie"
    sampling.variance = "small"
    sampling.discretization = 0
    sampling.eta = 0.0  # of ddim
    sampling.diffusion = "sigma"  # w of interpolant_euler and interpolant_heun
    sampling.diffusion_scale = 1.0
    sampling.s_churn = 0.0  # of euler, heun and dpm_2
    sampling.s_min = 0.0
    sampling.s_max = float("inf")
    sampling.s_noise = 1.0
    sampling.likeliest_end = False  # over categories: the last step takes the likeliest and draws none
    sampling.log_eps = 0.0  # of categorical_ancestral; published: 1e-6
    sampling.flow_churn = 0.0  # of discrete_flow
    sampling.cached_answers = False  # of unmasking: for networks that are not told the time
    sampling.choice_temperature = 4.5  # of maskgit
    sampling.prior_scale = 1.0  # what points of the prior are multiplied by; GLIDE's upsampler: 0.997
    sampling.threshold = "none"  # or clip, dynamic
    sampling.threshold_quantile = 0.995
    sampling.rtol = 1e-5
    sampling.atol = 1e-5
    sampling.prompt = ""  # of networks that read texts: one, or @FILE with one a line; "": the test set's captions
    sampling.negative_prompt = ""  # what guidance leads away from, in place of no text; or @FILE, as of prompts
    sampling.told_size = ()  # of Stable Diffusion XL: height and width of the original, top and left of the crop,
    # height and width that are asked for; (): those of the picture
    sampling.label = -1  # the class, of networks with model.label_dim; -1: each in turn
    sampling.guidance = 1.0  # away from the unconditional score, or a weaker guide's; 1: without (classifier, CLIP: 0)
    sampling.guidance_convention = "scale"  # or weight: w = scale - 1
    sampling.guidance_low = 0.0  # the interval of sigma / alpha in which it acts
    sampling.guidance_high = float("inf")
    sampling.guidance_rescale = 0.0
    sampling.guide = ""  # folder of a run: a classifier's, a CLIP's, or a weaker model's
    sampling.guide_checkpoint = -1
    sampling.scheduler = ""  # a scheduler of diffusers, such as DDIMScheduler, and sampling.steps of it in place of
    # sampling.method and eval.samplers
    sampling.scheduler_config = ""  # the scheduler_config.json of an imported folder, from which it is built
    sampling.start = ""  # --mode=sample: an .npy of unit-normal noise [n, ...] to start at; "": drawn
    sampling.count = 100  # --mode=sample: how many, where they do not start at given points
    sampling.height = 0  # --mode=sample: of the pictures, in pixels, where the network takes others than the run's; 0:
    sampling.width = 0  # as the run's
    sampling.keep_latents = False  # --mode=sample: keep the x before decoding beside the samples
    sampling.upsampler = ""  # --mode=sample, evaluate: folder of a run that enlarges the samples
    sampling.upsampler_checkpoint = -1

    config.eval = evaluate = ConfigDict()
    evaluate.batch_size = 256
    evaluate.seed = 0
    evaluate.seeds = 1  # sample sets drawn, of seeds seed, seed + 1, ...; reports give minimum, mean and spread
    evaluate.ema = True
    evaluate.ema_std = 0.0  # > 0: an average of this width from the snapshots of training.ema_stds, such as 0.08
    evaluate.checkpoint = -1  # step; -1: the newest
    evaluate.begin_step = 0  # with end_step: every archived checkpoint of a range, and that of end_step
    evaluate.end_step = 0
    evaluate.wait_minutes = 0  # for each checkpoint of the range that is still to come
    evaluate.num_samples = 50_000
    evaluate.samplers = ("pc", "ode")
    evaluate.judge = ""  # of what samples show of their texts: scenes
    evaluate.enable_bpd = True
    evaluate.enable_sampling = True
    evaluate.bpd_probe = "rademacher"  # rademacher, gaussian or exact
    evaluate.bpd_probes = 1
    evaluate.bpd_slots = 64  # examples a device integrates at a time, a finished one making room; 0: all of a batch
    evaluate.bpd_repeats = 1  # dequantisations averaged over
    evaluate.bpd_max_examples = 0  # 0: the whole test set
    evaluate.bpd_dequantization = "uniform"  # process: grey levels as they are, noised to t_min, as trained by vdm
    evaluate.enable_vlb = False  # the variational bound; of a discrete chain its variance is sampling.variance
    evaluate.vlb_times = 20  # in continuous time: evaluations an example
    evaluate.vlb_max_examples = 0  # 0: the whole test set
    evaluate.vlb_clip = True  # cut the predicted x0 off at the range of the grey levels
    evaluate.vlb_decoder = "exact"  # published: the approximation of the public codes
    evaluate.measures = ()  # further measures of the test set, by their names in evaluation/measures
    evaluate.measure_options = ConfigDict()  # options of some of them: {"NAME": {"option": value}}
    evaluate.accuracy_levels = 12  # noise levels at which a classifier is examined, even in log SNR
    evaluate.rtol = 1e-5
    evaluate.atol = 1e-5
    # FID and its family. The resize before Inception: pytorch, as pytorch-fid, whose weights these are, or tf1, as
    # TensorFlow's graph of 2015, which the papers of 2021 used; features are 1 to 10 % apart.
    evaluate.frechet_size = 0  # pixels a side that images are averaged down to for the Frechet distance over pixels
    evaluate.inception = ""  # path of pt_inception-2015-12-05-6726825d.pth; "": no such metrics
    evaluate.inception_sha256 = ""  # of that file where another than the published one is meant
    evaluate.inception_resize = "pytorch"
    evaluate.inception_batch_size = 32  # 1.6 GiB at work, whatever the size of the images
    evaluate.reference_stats = ""  # path of an .npz of --mode=stats, or of a public one
    evaluate.stats_split = "train"  # of --mode=stats: train or test
    evaluate.stats_features = 10_000  # images whose features it keeps for KID, precision and recall
    # LPIPS, in the loss and in the evaluation of an autoencoder.
    evaluate.vgg16 = ""  # path of torchvision's vgg16-397923af.pth
    evaluate.lpips_heads = ""  # path of vgg.pth of the package lpips, version 0.1

    # --mode=compare of the run in --workdir and further ones: 'method' or 'method/grid', each with so many evaluations,
    # of runs whose eval.samplers name a solver; the same of those whose name a map; the slow sampler they are held to.
    evaluate.compare_ema_stds = ()  # widths that the run is compared at, each as eval.ema_std: (0.0, 0.05, 0.1)
    evaluate.compare_runs = ()  # folders of further runs on the same data
    evaluate.compare = (
        "euler_maruyama/uniform",
        "ddim/quadratic",
        "dpmpp_2m/log_snr",
        "dpmpp_2m/quadratic",
        "dpmpp_3m/log_snr",
        "unipc_3/log_snr",
        "unipc_3/quadratic",
        "deis/quadratic",
        "ipndm/quadratic",
        "heun/karras",
        "dpmpp_2m_sde/log_snr",
    )
    evaluate.compare_evaluations = (5, 10, 20, 50)
    evaluate.compare_maps = ("jump", "renoise")
    evaluate.compare_maps_evaluations = (1, 2, 4)
    evaluate.compare_reference = "euler_maruyama/uniform"
    evaluate.compare_reference_evaluations = 1001  # 1000 steps and the one to data

    # --mode=edit, with the sampler of `sampling`; seed and checkpoint are those of `eval`.
    config.edit = edit = ConfigDict()
    edit.task = "inpaint"  # or colorize, super_resolve, vary, interpolate
    edit.image = ""  # a picture of any size, whose central square is taken, or a folder of some; "": the test set's;
    # of texts a file with one (docs/categories.md)
    edit.other = ""  # of interpolate: the picture at the other end
    edit.images = 4  # how many of the test set
    edit.count = 8  # results of each
    edit.mask = "upper"  # what is known, of inpaint: upper, lower, left, right, border; or a file, white or opaque, or
    # a folder with one for each picture; of other data than images also first, last, ends (docs/shapes.md); of a text
    # of edit.image also a single character, which stands in it for each symbol that is not known
    edit.paste = None  # of inpaint: known pixels are those of the picture, to the level; None: where a prompt edits
    edit.factor = 2  # of super_resolve
    edit.strength = 0.5  # of vary: the time t that the picture is noised to; of a scheduler the share of its steps
    edit.inpaint_strength = 1.0  # of inpaint, alike: below 1 it begins with the picture noised, in place of noise
    edit.method = "auto"  # how a measurement is followed, a name of inverse.METHODS; auto: as suits the network
    edit.noise = 0.0  # deviation of what was measured, in the model's units; of dps, pigdm and posterior
    edit.iterations = 5  # of posterior
    edit.data_std = 1.0  # of pigdm
    edit.zeta = 1.0  # of dps and mcg
    edit.resamplings = 10  # of repaint
    edit.jump = 10

    # --mode=sweep: a run of every combination of these values (docs/sweeps.md).
    config.sweep = sweep = ConfigDict()
    sweep.axes = ()  # texts such as "optim.lr=1e-3,3e-3", or "training.n_iters,optim.decay_steps=(600,600),(900,900)"
    sweep.modes = ("train", "evaluate")  # what is done of each

    # --mode=visualize: a page for the browser (docs/visualize.md); its seed and checkpoint are those of `eval`.
    config.visualize = visualize = ConfigDict()
    visualize.count = 8  # pictures or texts to choose from, and starting points of the samplers
    visualize.places = 101  # of the slider, from 0 to 100 %, an odd number
    visualize.methods = ()  # samplers, from one starting point; (): the run's own, and what suits it
    visualize.evaluations = 20  # of each of them, but the run's own, which is as `sampling` says
    visualize.states = 64  # at most so many of each sampler's are kept
    visualize.points = 300  # of 2-D data
    visualize.arrows = 15  # a side, of the field of the score of 2-D data
    visualize.side = 64  # in pixels; longer pictures are averaged down
    visualize.megabytes = 6.0  # about the largest page; there are fewer places and states where it would be larger

    # What the paper reached with this recipe and how it was measured, where it says so: see configs/published.py.
    config.published = ConfigDict()
    return config.lock()
