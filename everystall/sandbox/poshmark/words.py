"""What drift may rename and say otherwise at the practice Poshmark."""

from __future__ import annotations

from everystall.sandbox.drift import Vocabulary

VOCABULARY = Vocabulary(
    names=[
        "img-file-input", "customSizeInput0", "listing-price-modal-listing-price-input",
        "listing-price-modal-original-price-input", "listing-editor__section",
        "listing-editor__category-container", "listing-editor__subcategory-container",
        "listing-editor__condition-container", "listing-editor__suggestions-list",
        "listing-editor__tag__input", "listing-editor__image-modal", "drafts__list-container",
        "dropdown__selector", "dropdown__menu__item", "dropdown__menu", "dropdown__link",
        "navigation--horizontal__tab", "color__circle--large", "data-test=modal", "data-test=modal-title",
        "data-test=modal-body", "data-test=modal-footer", "data-test=modal-container", "data-test=size",
        "data-test=dropdown", "data-test=next", "data-test=toggle-input", "data-test=toggle-switch",
        "data-vv-name=title", "data-vv-name=description", "data-vv-name=listingPrice",
        "data-vv-name=quantityAvailable0", "data-vv-name=sku", "data-et-name=next", "data-et-name=list",
        "data-et-name=apply", "data-et-name=size", "data-et-name=color", "data-et-name=listing_condition",
        "data-et-name=delete", "data-et-name=update", "data-et-name=save_draft",
        "data-et-on-name=category_selection", "my-sales-desktop-table__table", "my-sales-desktop-table__row",
        "my-sales-desktop-table__pagination-info", "order-info__container",
    ],
    labels={
        "Next": ["Go on", "Proceed"],
        "List This Item": ["Publish Listing", "List Now"],
        "Apply": ["Use Photos", "Confirm"],
        "Done": ["Save", "OK"],
        "Delete Listing": ["Remove Listing"],
        "Confirm Delete Listing": ["Confirm Remove Listing"],
        "What are you selling? (required)": ["Title (required)"],
        "Describe it! (required)": ["Tell buyers about it (required)"],
        "Enter the Brand/Designer": ["Brand or designer"],
        "Select Size": ["Choose a size"],
        "Select Category": ["Choose a category"],
        "Select Condition": ["Choose a condition"],
        "show details": ["open details"],
    },
)  # fmt: skip
