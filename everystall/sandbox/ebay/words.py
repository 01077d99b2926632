"""What drift may rename and say otherwise at the practice eBay."""

from __future__ import annotations

from everystall.sandbox.drift import Vocabulary

_NAMES = """signin-continue-btn sgnBt signin-form signin-error-msg mainContent gh-ug lightbox-dialog
lightbox-title lightbox-footer category-options category-option prelist-done prelist-how prelist-no-match
prelist-match prelist-continue prelist-condition condition-option se-rte-frame__summary uploader-thumbnails
uploader-thumbnail uploader-count uploader-add uploader-busy specific__input specific__menu specific__option
textbox__control listbox__control switch__control lstng-list lstng-later lstng-errors lstng-actions
lstng-section success-page success-link review-page x-item-title__mainTitle x-price-primary
x-item-condition-text x-quantity__availability x-item-number x-sellercard x-shipping x-location x-returns
x-bestoffer ux-image-carousel-item ux-image-carousel ux-item-specifics ux-labels-values__labels
ux-labels-values__values ux-labels-values ux-layout-section--status desc_ifr ds_div hub-table hub-title
hub-sku hub-price hub-quantity hub-promoted hub-date hub-status row-actions end-listing end-confirm
end-reason delete-draft delete-confirm thumb-delete"""
VOCABULARY = Vocabulary(
    names=_NAMES.split(),
    labels={
        "Enter a category value": ["Search for a category", "Category"],
        "Done": ["Save", "Use this category"],
        "Continue without match": ["Skip this step", "No match, go on"],
        "Continue to listing": ["Go to listing", "Next"],
        "List it": ["List item", "Publish listing"],
        "Revise it": ["Update listing", "Save and revise"],
        "Save for later": ["Save draft", "Finish later"],
        "Search or enter your own": ["Choose or type", "Pick or write your own"],
        "Allow offers": ["Best Offer", "Accept offers"],
        "Promoted Listings: general": ["Promote with ads", "General ad campaign"],
        "Item title": ["Title of your item", "Headline"],
        "Item price": ["Buy It Now price", "Your price"],
        "Custom label (SKU)": ["SKU", "Your own label"],
        "End listing": ["End item", "Take it down"],
        "Your listing is live": ["You’re all set: it is listed", "Listed!"],
    },
)
