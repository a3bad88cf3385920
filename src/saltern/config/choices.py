"""The names a setting may take, as literal tables that need no torch; tests hold them against the libraries."""

LAYOUTS = ("sample", "tgs", "voc", "folder")
VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""Pascal VOC's classes by id: the first is 1, the last 20; 0 is background."""
FOLD_KINDS = (
    "random",
    "stratified",
    "group",
    "stratified_group",
    "adjacency",
    "predefined",
    "file",
)
GROUPED_FOLDS = ("group", "stratified_group", "adjacency")
"""Those of FOLD_KINDS that keep images together which belong together."""
LR_POLICIES = ("constant", "cosine", "poly", "one_cycle", "cosine_restarts", "plateau")
OPTIMIZERS = ("adamw", "adam", "sgd")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
MONITORS = ("precision_tgs", "iou_image", "iou_dataset", "dice_image")
VIEWS = ("identity", "hflip", "vflip", "rot90", "rot180", "rot270", "transpose", "antitranspose")
MEANS = ("probs", "logits")
ENSEMBLE_MEANS = ("probs", "logits", "vote")
CALIBRATIONS = ("none", "auto")
START_FROM = ("last", "best")
KEEPS = ("best", "last", "average")
SOUPS = ("best", "last")
ROWS = ("image", "instance")
CONNECTIVITIES = (4, 8)
WEIGHTS = ("fp32", "fp16")
EXPORT_FORMATS = ("onnx",)
EXPORT_NETWORKS = ("members", "mean")
PADDINGS = ("reflect", "edge", "constant")
CACHES = ("auto", "memory", "file", "none", "device")
DEVICE_TRANSFORMS = ("HorizontalFlip", "VerticalFlip", "Affine", "ShiftScaleRotate", "RandomBrightnessContrast")
"""Those of TRANSFORMS that can be done on the device, which `dataset.cache=device` asks for."""

ARCHITECTURES = (
    "unet", "unetplusplus", "manet", "linknet", "fpn", "pspnet", "deeplabv3", "deeplabv3plus",
    "pan", "upernet", "segformer", "dpt",
)  # fmt: skip

ENCODERS = (
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d",
    "resnext101_32x4d", "resnext101_32x8d", "resnext101_32x16d", "resnext101_32x32d",
    "resnext101_32x48d", "dpn68", "dpn68b", "dpn92", "dpn98", "dpn107", "dpn131", "vgg11",
    "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn", "senet154",
    "se_resnet50", "se_resnet101", "se_resnet152", "se_resnext50_32x4d", "se_resnext101_32x4d",
    "densenet121", "densenet169", "densenet201", "densenet161", "inceptionresnetv2",
    "inceptionv4", "efficientnet-b0", "efficientnet-b1", "efficientnet-b2", "efficientnet-b3",
    "efficientnet-b4", "efficientnet-b5", "efficientnet-b6", "efficientnet-b7", "mobilenet_v2",
    "xception", "timm-efficientnet-b0", "timm-efficientnet-b1", "timm-efficientnet-b2",
    "timm-efficientnet-b3", "timm-efficientnet-b4", "timm-efficientnet-b5",
    "timm-efficientnet-b6", "timm-efficientnet-b7", "timm-efficientnet-b8",
    "timm-efficientnet-l2", "timm-tf_efficientnet_lite0", "timm-tf_efficientnet_lite1",
    "timm-tf_efficientnet_lite2", "timm-tf_efficientnet_lite3", "timm-tf_efficientnet_lite4",
    "timm-skresnet18", "timm-skresnet34", "timm-skresnext50_32x4d", "mit_b0", "mit_b1",
    "mit_b2", "mit_b3", "mit_b4", "mit_b5", "mobileone_s0", "mobileone_s1", "mobileone_s2",
    "mobileone_s3", "mobileone_s4",
)  # fmt: skip
"""SMP's own encoders; besides these, `tu-NAME` takes any of timm's."""

DEEPLABV2_ENCODERS = ("resnet50", "resnet101")

TRANSFORMS = (
    "AdditiveNoise", "AdvancedBlur", "Affine", "AutoContrast", "Blur", "CLAHE", "CenterCrop", "ChannelDropout",
    "ChannelShuffle", "ChromaticAberration", "CoarseDropout", "ColorJitter", "ConstrainedCoarseDropout", "Crop",
    "CropAndPad", "CropNonEmptyMaskIfExists", "D4", "Defocus", "Downscale", "ElasticTransform", "Emboss",
    "Equalize", "Erasing", "FDA", "FancyPCA", "FrequencyMasking", "FromFloat", "GaussNoise", "GaussianBlur",
    "GlassBlur", "GridDistortion", "GridDropout", "GridElasticDeform", "HEStain", "HistogramMatching",
    "HorizontalFlip", "HueSaturationValue", "ISONoise", "Illumination", "ImageCompression", "InvertImg",
    "LongestMaxSize", "MaskDropout", "MedianBlur", "Morphological", "Mosaic", "MotionBlur",
    "MultiplicativeNoise", "NoOp", "Normalize", "OneOf", "OneOrOther", "OpticalDistortion", "OverlayElements",
    "Pad", "PadIfNeeded", "Perspective", "PiecewiseAffine", "PixelDistributionAdaptation", "PixelDropout",
    "PlanckianJitter", "PlasmaBrightnessContrast", "PlasmaShadow", "Posterize", "RGBShift",
    "RandomBrightnessContrast", "RandomCrop", "RandomCropFromBorders", "RandomCropNearBBox", "RandomFog",
    "RandomGamma", "RandomGravel", "RandomGridShuffle", "RandomOrder", "RandomRain", "RandomResizedCrop",
    "RandomRotate90", "RandomScale", "RandomShadow", "RandomSizedCrop", "RandomSnow", "RandomSunFlare",
    "RandomToneCurve", "Resize", "RingingOvershoot", "Rotate", "SafeRotate", "SaltAndPepper",
    "SelectiveChannelTransform", "Sequential", "Sharpen", "ShiftScaleRotate", "ShotNoise", "SmallestMaxSize",
    "Solarize", "SomeOf", "Spatter", "SquareSymmetry", "Superpixels", "TextImage", "ThinPlateSpline",
    "TimeMasking", "TimeReverse", "ToFloat", "ToGray", "ToRGB", "ToSepia", "ToTensor3D", "ToTensorV2",
    "Transpose", "UnsharpMask", "VerticalFlip", "XYMasking", "ZoomBlur",
)  # fmt: skip
"""Albumentations' transforms of image and mask together; what else they take is checked when they are built."""
